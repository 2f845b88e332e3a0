"""Keys of transformers' `TrainingArguments` that would be lost; LLaMA-Factory and TRL hand them on."""

from __future__ import annotations

from training.foreign.translation import Lost

LOST = {
    "train_sampling_strategy": Lost(
        "keeps the order of the rows; here they come by chance or by length", neutral=("random",)
    ),
    "dataloader_drop_last": Lost("leaves out the rows of the last short batch"),
    "auto_find_batch_size": Lost("makes batches smaller until they fit, so their size is not known"),
    "metric_for_best_model": Lost("chooses the checkpoint by another figure", neutral=("loss", "eval_loss")),
    "greater_is_better": Lost("calls the highest loss the best", neutral=(False,)),
    "label_smoothing_factor": Lost("smooths labels", neutral=(0, 0.0)),
    "neftune_noise_alpha": Lost("adds noise to embeddings (NEFTune)", neutral=()),
    "lr_scheduler_kwargs": Lost("shapes the schedule further", neutral=({}, "")),
    "optim_args": Lost("sets the optimiser further", neutral=("",)),
    "optim_target_modules": Lost("gives some modules an optimiser of their own", neutral=()),
    "data_seed": Lost("shuffles by a seed of its own", "write it as seed", neutral=()),
    "adam_beta1": Lost("is another first beta than AdamW's 0.9", neutral=(0.9,)),
    "adam_beta2": Lost("is another second beta than AdamW's 0.999", neutral=(0.999,)),
    "adam_epsilon": Lost("is another epsilon than AdamW's 1e-8", neutral=(1e-8,)),
    "fp16": Lost("computes in float16; here a CPU does in float32 or bfloat16, and a GPU in bfloat16"),
}
