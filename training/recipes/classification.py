"""Sequence classification: an encoder with a head over it learns which label a text has.

All weights are trained, or with `lora` a small delta that is merged into them when they are saved; the head is trained
and saved in both cases. The best epoch is chosen by macro-F1 on the validation rows, unless `optimisation.best_by`
names another figure. What is left is a folder that transformers and the service read as it is
(`service/classification`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lifecycle.errors import ArtifactRefused, InvalidConfig, InvalidData, Problem
from lifecycle.manifests import GoldenText
from lifecycle.origin import Origin
from lifecycle.rows.kinds import Kinds, Labelled
from lifecycle.version import ArtifactKind, Prompt
from training import checkpoints, exact, label_scores, lora_shape, mixture, processes, supervised, whole_weights
from training.exact import EpochOrder
from training.label_scores import label_scores as scores_of
from training.lora_shape import LowRank
from training.method import Method, Task, Trained
from training.mixture import Mixture
from training.optimisation import OptimisationSettings
from training.progress import Curve
from training.tokens import IGNORED

_TRUNCATES = "dabt_truncates"
"""The key of config.json that tells the service that longer texts were cut."""
_SAME = 1e-3
"""Largest difference of a logit between what was trained and what was saved and read again."""


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A text as it is trained: the ids of its tokens, special ones included."""

    place: str
    text: str
    label: str
    input_ids: list[int]


class Classification(Method):
    """A classifier from texts with labels. Settings under `method:` beside `type: classification`."""

    type: Literal["classification"] = "classification"

    lora: LowRank | None = None
    """Merged when it is saved. None trains every weight, which wants a rate of about 5e-5."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """What an error on each label costs. `balanced` is by how rare it is: rows / (labels × rows of the label)."""
    truncate: bool = False
    """Cut texts longer than `optimisation.max_length`, here and when it is served. Otherwise they are an error."""

    rows: ClassVar[Kinds] = (Labelled,)
    artifact: ClassVar[ArtifactKind] = "classifier"
    measures: ClassVar = ("macro_f1", "accuracy", "loss")
    shares: ClassVar = (supervised, label_scores, lora_shape, checkpoints, exact, mixture)
    unused: ClassVar = {
        "optimisation.packing": "texts with labels are not packed",
        "optimisation.fsdp": "an encoder is not shared out",
        "optimisation.best_by_rows": "all validation rows are classified",
        "optimisation.best_by_max_tokens": "a classifier generates no answer",
        "prompt.system": "a classifier reads the text alone",
        "template": "a classifier reads the text alone",
        "data.answer_schema": "a label is no answer that a schema describes",
    }

    @property
    def held(self) -> float:
        return 16.0 if self.lora is None else 4.0

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        """A base that has no class with a head, no padding, or no modules for the LoRA that is wanted."""
        problems = [*whole_weights.misfits(base), *_without_head(base)]
        if not problems and self.lora is not None:
            problems += self.lora.unmakable(base, classifies=True, place="method.lora")
        return [*problems, *_without_room(base, how.max_length)]

    def examples(self, task: Task, rows: Sequence[Labelled]) -> list[LabelledExample]:
        tokenizer = _tokenizer(task.base)
        most = task.optimisation.max_length
        cut: dict[str, Any] = {"truncation": True, "max_length": most} if self.truncate else {"truncation": False}
        ids = tokenizer([row.text for row in rows], **cut, padding=False, verbose=False)["input_ids"] if rows else []
        long = [
            Problem(
                row.place,
                f"has {len(tokens)} tokens, and optimisation.max_length is {most}",
                "shorten the text, raise max_length, or write method.truncate: true to have its end cut off",
            )
            for row, tokens in zip(rows, ids, strict=True)
            if len(tokens) > most
        ]
        if long:
            raise InvalidData(f"{len(long)} of {len(rows)} texts are too long; nothing was trained", long)
        return [
            LabelledExample(row.place, row.text, str(row.label), tokens) for row, tokens in zip(rows, ids, strict=True)
        ]

    def train(self, task: Task, training: Sequence[LabelledExample], validation: Sequence[LabelledExample]) -> Trained:
        import torch
        from transformers import DataCollatorWithPadding, EarlyStoppingCallback, PrinterCallback, Trainer, set_seed

        how, folder = task.optimisation, task.folder / self.artifact
        # Of a mixture an epoch sees a part: a rare label may come in another one first.
        every = training.every if isinstance(training, Mixture) else training
        labels = label_order(every, validation)
        weights = self._weights(every, labels, training.often if isinstance(training, Mixture) else ())
        tokenizer = _tokenizer(task.base)
        tokenizer.model_max_length = how.max_length

        # The head is drawn by chance, and so is whatever else the base's file does not have: seeded, and trained whole.
        task.watch.stage("loading the base")
        set_seed(how.seed)
        model, drawn = self._model(task.base, labels, tokenizer)
        if self.lora is not None:
            model = _with_lora(model, self.lora, drawn)

        def loss(outputs: Any, wanted: Any, num_items_in_batch: Any = None) -> Any:
            # A sum over all rows of the step, so that a last window that is short weighs as what it has.
            each = None if weights is None else weights.to(wanted.device)
            every = torch.nn.functional.cross_entropy(outputs["logits"], wanted, weight=each, reduction="sum")
            if num_items_in_batch is None:
                return every / (wanted != IGNORED).sum().clamp(min=1)
            return every / num_items_in_batch

        def scores(found: Any) -> dict[str, float]:
            real = found.label_ids != IGNORED
            return scores_of(found.predictions[real].argmax(axis=-1).tolist(), found.label_ids[real].tolist(), labels)

        stopped_at = checkpoints.newest(task.folder / checkpoints.FOLDER)
        blanks = processes.missing(len(validation), 2 * how.batch_size)
        curve = Curve()
        trainer = exact.exact(Trainer, shifted=False)(
            model=model,
            args=_arguments(task, len(training), eval_on_start=stopped_at is None),
            train_dataset=_dataset(every, labels, blanks=int(processes.count() > 1)),
            eval_dataset=_dataset(validation, labels, blanks=blanks),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            compute_loss_func=loss,
            compute_metrics=scores,
            callbacks=supervised.callbacks(task, curve, len(training)),
        )
        lengths = [len(example.input_ids) for example in every]
        trainer.order = EpochOrder(training, lengths, how.seed, group=how.group, batch_size=how.batch_size)
        trainer.remove_callback(PrinterCallback)
        if how.early_stopping:
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.early_stopping))
        task.watch.stage("training" if stopped_at is None else f"training, on from {stopped_at.name}")
        checkpoints.train(trainer, stopped_at, how.steps(len(training)))
        steps, epochs = trainer.state.global_step, trainer.state.epoch or 0.0
        best = trainer.evaluate()  # of the best epoch's weights, which the model holds now

        model = trainer.model.cpu().eval()
        if self.lora is not None:
            model = model.merge_and_unload()
        if processes.is_first():
            self._save(model, tokenizer, folder, task)
            _require_same(model, folder, validation[:8])
        figures = {name.removeprefix("eval_"): value for name, value in best.items()}
        metrics = {
            "train_rows": len(training),
            "validation_rows": len(validation),
            "labels": len(labels),
            "steps": steps,
            "epochs": round(epochs, 3),
            "train_loss": curve.train[-1].loss,
            "eval_loss": best["eval_loss"],
            "base_eval_loss": curve.validation[0].loss,
            **{f"eval_{name}": figures[name] for name in scores_of([], [], labels)},
        }
        return Trained(folder, {name: float(value) for name, value in metrics.items()})

    def golden(self, task: Task, folder: Path, proofs: Sequence[LabelledExample]) -> tuple[GoldenText, ...]:
        return golden_texts(folder, proofs)

    def _weights(self, training: Sequence[LabelledExample], labels: Sequence[str], often: Sequence[float] = ()) -> Any:
        """A tensor of one number per label; None where every error costs the same.

        `often` is how many times an epoch sees each example, where that is not once.
        """
        import torch

        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            counts = dict.fromkeys(labels, 0.0)
            for example, times in zip(training, often or [1.0] * len(training), strict=True):
                counts[example.label] += times
            return torch.tensor([sum(counts.values()) / (len(labels) * count) for count in counts.values()])
        given = self.class_weights
        problems = [Problem(f"method.class_weights.{label}", "is missing") for label in labels if label not in given]
        problems += [
            Problem(f"method.class_weights.{label}", "is no label of the training rows", f"one of {', '.join(labels)}")
            for label in given
            if label not in labels
        ]
        problems += [
            Problem(f"method.class_weights.{label}", f"{weight} is no weight", "a number above 0")
            for label, weight in given.items()
            if weight <= 0
        ]
        if problems:
            raise InvalidConfig("the class weights do not fit the rows:", problems)
        return torch.tensor([given[label] for label in labels])

    def _model(self, base: Path, labels: Sequence[str], tokenizer: Any) -> tuple[Any, list[str]]:
        """The base with its head, and the modules that its file does not have."""
        import torch
        from transformers import AutoModelForSequenceClassification

        model, told = AutoModelForSequenceClassification.from_pretrained(
            str(base),
            dtype=torch.float32,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: place for place, label in enumerate(labels)},
            problem_type="single_label_classification",
            ignore_mismatched_sizes=True,  # a head of another task that the base comes with is drawn anew
            output_loading_info=True,
        )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        keys = {*told["missing_keys"], *(mismatched[0] for mismatched in told["mismatched_keys"])}
        return model, sorted({key.rpartition(".")[0] for key in keys})

    def _save(self, model: Any, tokenizer: Any, folder: Path, task: Task) -> None:
        """The folder, with nothing in it that changes from one machine to the next."""
        setattr(model.config, _TRUNCATES, self.truncate)
        model.save_pretrained(str(folder), safe_serialization=True)
        tokenizer.save_pretrained(str(folder))
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        Origin(base=task.known).write(folder)


def label_order(training: Sequence[LabelledExample], validation: Sequence[LabelledExample]) -> tuple[str, ...]:
    """The labels as the head has them: numbers by size, else by spelling, whatever order the rows have.

    Raises `InvalidData` for fewer than two, and with every validation row whose label no training row has.
    """
    labels = {example.label for example in training}
    if len(labels) < 2:
        raise InvalidData(f"all training rows have the label {', '.join(labels)}: there is nothing to tell apart")
    unseen = [
        Problem(example.place, f"its label is {example.label!r}, which no training row has", "add such rows to both")
        for example in validation
        if example.label not in labels
    ]
    if unseen:
        raise InvalidData("validation rows have labels that nothing is learnt of:", unseen)
    numbers = all(label.removeprefix("-").isdecimal() for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label), label) if numbers else (0, label)))


def golden_texts(folder: Path, examples: Sequence[LabelledExample]) -> tuple[GoldenText, ...]:
    """What the saved classifier gives each label for the examples' texts, in float32 on the processor."""
    model = _saved(folder)
    rows = _logits(model, [example.input_ids for example in examples])
    return tuple(
        GoldenText(text=example.text, logits=tuple(logits)) for example, logits in zip(examples, rows, strict=True)
    )


def _with_lora(model: Any, lora: LowRank, drawn: Sequence[str]) -> Any:
    """What is drawn by chance, the head above all, is trained whole and saved: PEFT would otherwise leave out what it
    does not know by its name, and a head of chance would be served (https://github.com/huggingface/peft/issues/310).
    """
    from peft import get_peft_model

    settings = lora.peft(exclude_modules=list(drawn), modules_to_save=list(drawn), task_type="SEQ_CLS")
    return get_peft_model(model, settings)


def _without_head(base: Path) -> list[Problem]:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(str(base), local_files_only=True)
    except (ValueError, OSError) as error:
        return [Problem("base", str(error).splitlines()[0], "a model folder that transformers reads")]
    if type(config) in AutoModelForSequenceClassification._model_mapping:
        return []
    fault = f"{config.model_type} has no class for sequence classification in transformers"
    return [Problem("base", fault, "an encoder such as BERT, or another base that has one")]


def _without_room(base: Path, max_length: int) -> list[Problem]:
    tokenizer = _tokenizer(base)
    problems = []
    if tokenizer.pad_token_id is None:
        problems.append(Problem("base", "its tokenizer has no padding token", "set pad_token in tokenizer_config.json"))
    if max_length > (reads := tokenizer.model_max_length):
        fault = f"{max_length} is more than the {reads} tokens that the base's tokenizer is for"
        problems.append(Problem("optimisation.max_length", fault, f"at most {reads}"))
    return problems


def _tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(base), local_files_only=True)


def _dataset(examples: Sequence[LabelledExample], labels: Sequence[str], *, blanks: int = 0) -> Any:
    """With so many rows behind them of which nothing is learnt (`processes.missing`)."""
    from datasets import Dataset

    places: Mapping[str, int] = {label: place for place, label in enumerate(labels)}
    blank = examples[0].input_ids[:1]
    return Dataset.from_dict(
        {
            "input_ids": [*(example.input_ids for example in examples), *[blank] * blanks],
            "labels": [*(places[example.label] for example in examples), *[IGNORED] * blanks],
        }
    )


def _arguments(task: Task, rows: int, **more: Any) -> Any:
    """`supervised.py`'s, with the best epoch by macro-F1 where none is named."""
    from transformers import TrainingArguments

    return supervised.arguments(
        task,
        rows,
        TrainingArguments,
        **more,
        metric_for_best_model=f"eval_{task.optimisation.best_by or 'macro_f1'}",
        greater_is_better=task.optimisation.best_by != "loss",
        remove_unused_columns=True,
        label_names=["labels"],
    )


def _saved(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    model, told = AutoModelForSequenceClassification.from_pretrained(
        str(folder), dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    if lacking := sorted(told["missing_keys"]):
        problem = Problem(lacking[0], "was not saved, and would be drawn by chance")
        raise ArtifactRefused(f"{folder} is no whole classifier:", [problem])
    return model.eval()


def _require_same(model: Any, folder: Path, examples: Sequence[LabelledExample]) -> None:
    """Raises `ArtifactRefused` when what was saved computes something else than what was trained."""
    saved = _saved(folder)
    rows = [example.input_ids for example in examples]
    pairs = zip(_logits(model, rows), _logits(saved, rows), strict=True)
    off = max((abs(one - other) for here, there in pairs for one, other in zip(here, there, strict=True)), default=0.0)
    if off > _SAME:
        problem = Problem("the saved weights", f"give logits that are off by {off:.4g} from what was trained")
        raise ArtifactRefused(f"{folder} was not saved as it was trained:", [problem])


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    import torch

    with torch.inference_mode():
        return [model(input_ids=torch.tensor([row])).logits[0].float().tolist() for row in rows]
