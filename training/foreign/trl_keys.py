"""TRL's keys that are not translated: what decides nothing here, and what would be lost.

Read in the sources of 1.16: `ScriptArguments`, `SFTConfig`, `DPOConfig`, `ModelConfig`, `DatasetMixtureConfig`, and
transformers' `TrainingArguments`. `tests/training/foreign/test_trl.py` holds the table against their fields.
"""

from __future__ import annotations

from training.foreign import trainer_keys
from training.foreign.translation import Keys, Lost

_OTHER_LOSS = "trains by another loss, which is not here"
_MODULES = "trains modules beside the adapter, which a server would not serve"
_TOKENS = "is another token than the base's own, by which it is served"

KEYS = Keys(
    idle={
        "it says where results and logs go": (
            "output_dir logging_strategy logging_steps logging_first_step logging_nan_inf_filter log_on_each_node "
            "log_level log_level_replica run_name project trackio_* include_num_input_tokens_seen disable_tqdm "
            "push_to_hub hub_* debug"
        ),
        "a run here keeps its own checkpoints": (
            "save_steps save_strategy save_total_limit save_only_model save_on_each_node enable_jit_checkpoint "
            "ignore_data_skip restore_callback_states_from_checkpoint"
        ),
        "a run here validates at the end of each epoch": (
            "do_eval eval_strategy eval_steps eval_delay eval_on_start eval_packing per_device_eval_batch_size "
            "eval_accumulation_steps eval_do_concat_batches eval_use_gather_object prediction_loss_only "
            "batch_eval_metrics include_for_metrics bf16_full_eval fp16_full_eval"
        ),
        "the best epoch by validation loss is always what is published": "load_best_model_at_end",
        "its script does not ask for it": "do_train do_predict",
        "it changes speed and memory alone": (
            "attn_implementation dataset_num_proc padding_free pad_to_multiple_of activation_offloading "
            "use_liger_kernel liger_kernel_config use_cache dataloader_num_workers dataloader_pin_memory "
            "dataloader_persistent_workers dataloader_prefetch_factor dataloader_in_order "
            "dataloader_multiprocessing_context torch_compile* torch_empty_cache_steps gradient_checkpointing_kwargs "
            "skip_memory_metrics tf32 length_column_name use_cpu full_determinism remove_unused_columns label_names "
            "precompute_ref_log_probs precompute_ref_batch_size bnb_4bit_quant_storage"
        ),
        "it is of several processes working together": (
            "ddp_* local_rank average_tokens_across_devices fsdp_config parallelism_config accelerator_config "
            "ignore_bias_buffers main_process_port machine_rank"
        ),
        "a base whose own code would have to run is refused here; no other needs it": "trust_remote_code",
        "it is of rows in streams; rows are always read one at a time": "dataset_streaming streaming",
        "rows come by chance, from the seed": "shuffle_dataset",
        "padding is never learnt": "pad_token",
        "it is of packing": "packing_strategy",
        "it is of a method that is not asked for": (
            "lora_r lora_alpha lora_dropout lora_target_modules use_rslora bnb_4bit_quant_type use_bnb_nested_quant "
            "beta label_smoothing disable_dropout f_alpha_divergence_coef discopop_tau ref_model_mixup_alpha "
            "ref_model_sync_steps"
        ),
    },
    lost={
        **trainer_keys.LOST,
        "env": Lost("sets variables of the environment", "set them where dabt train is started", neutral=({},)),
        "model_revision": Lost("names a revision of the base", "download it and name the folder", neutral=("main",)),
        "model_init_kwargs": Lost("loads the base in another way", neutral=({}, "")),
        "dtype": Lost("holds all weights in half precision, also what is learnt", neutral=("float32",)),
        "load_in_8bit": Lost("packs the base in 8 bits"),
        "lora_target_parameters": Lost(
            "adapts parameters that are no layers, which a server would not serve", neutral=()
        ),
        "lora_modules_to_save": Lost(_MODULES, neutral=([],)),
        "lora_task_type": Lost("is of another kind of model", neutral=("CAUSAL_LM",)),
        "use_dora": Lost("trains DoRA, which vLLM refuses"),
        "router_aux_loss_coef": Lost("adds the routers' loss", neutral=(0, 0.0)),
        "dataset_text_field": Lost("names another column for texts", "rename it to text", neutral=("text",)),
        "dataset_kwargs": Lost("prepares the rows in another way", neutral=({}, "")),
        "eos_token": Lost(_TOKENS, neutral=()),
        "truncation_mode": Lost("cuts the start of a long row; here it is an error", neutral=("keep_start",)),
        "loss_type": Lost(_OTHER_LOSS, neutral=("nll", "chunked_nll")),
        "loss_weights": Lost("weighs the losses", neutral=()),
        "ld_alpha": Lost("weighs long answers in another way (LD-DPO)", neutral=()),
        "f_divergence_type": Lost("measures the distance in another way", neutral=("reverse_kl",)),
        "use_weighting": Lost("weighs the pairs (WPO)"),
        "sync_ref_model": Lost("moves the reference while it trains (TR-DPO)"),
        "num_machines": Lost("trains on several machines", "start dabt train on each by torchrun", neutral=(1,)),
        "resume_from_checkpoint": Lost("goes on from a checkpoint; a run here goes on from its own alone"),
    },
)
