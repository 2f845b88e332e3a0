"""Axolotl's keys that are not translated: what decides nothing here, and what would be lost.

Read in `utils/schemas/` of its sources.
"""

from __future__ import annotations

from training.foreign.translation import Keys, Lost

_TOKENS = "adds or renames tokens, and an adapter is served with the base's own vocabulary"
_MODULES = "trains modules beside the adapter, which a server would not serve"
_PATTERN = "gives modules a rank or a scale of their own; training here gives all of them one"
_RATES = "gives parts of the model a rate of their own"
_SCHEDULE = "shapes the schedule further"
_OTHER_LOSS = "trains by another loss, which is not here"
_PART = "takes a part of the rows"
_PLUGIN_SPEED = ("liger", "cut_cross_entropy")

KEYS = Keys(
    idle={
        "it says where results and logs go": (
            "output_dir logging_steps use_wandb wandb_* use_mlflow mlflow_* hf_mlflow_log_artifacts use_comet comet_* "
            "use_tensorboard use_trackio trackio_* use_otel_metrics otel_metrics_* swanlab_* use_swanlab hub_* "
            "push_dataset_to_hub include_tokens_per_second include_tkps profiler_steps profiler_steps_start debug "
            "gradio_* axolotl_config_path strict"
        ),
        "a run here keeps its own checkpoints": (
            "save_steps saves_per_epoch save_strategy "
            "save_total_limit save_first_step save_only_model save_safetensors "
            "auto_resume_from_checkpoints dynamic_checkpoint* tokenizer_save_jinja_files merge_method"
        ),
        "a run here validates at the end of each epoch": (
            "eval_steps evals_per_epoch eval_strategy evaluation_strategy eval_batch_size eval_sample_packing "
            "eval_table_size eval_max_new_tokens eval_causal_lm_metrics do_causal_lm_eval do_bench_eval bench_dataset "
            "bench_split"
        ),
        "the best epoch by validation loss is always what is published": "load_best_model_at_end",
        "it is of answers, which evaluations ask for": "generate_samples num_generation_samples generation_* vllm*",
        "it changes speed and memory alone": (
            "flash_attention sdp_attention xformers_attention flex_attention sage_attention eager_attention "
            "attn_implementation flex_attn_compile_kwargs flash_attn_* sdpa_varlen fused_attn_kernel "
            "large_head_attention gemma4_hybrid_attn_impl experts_implementation "
            "lora_mlp_kernel lora_qkv_kernel lora_o_kernel "
            "lora_embedding_kernel chunked_cross_entropy* tiled_mlp* torch_compile* liger_* cut_cross_entropy "
            "gradient_checkpointing_kwargs selective_checkpointing* activation_offloading layer_offloading tf32 "
            "dataset_prepared_path dataset_processes dataset_num_proc dataset_keep_in_memory "
            "num_dataset_shards_to_save dataloader_num_workers "
            "dataloader_pin_memory dataloader_prefetch_factor remove_unused_columns "
            "pad_to_sequence_len pad_to_multiple_of batch_flattening sample_packing_* gc_steps gc_collect_steps "
            "torch_empty_cache_steps low_cpu_mem_usage max_memory gpu_memory_limit lora_on_cpu use_kernels "
            "experimental_skip_move_to_device precompute_ref_log_probs dpo_use_liger_kernel dpo_padding_free "
            "is_preprocess preprocess_iterable total_num_tokens total_supervised_tokens streaming "
            "streaming_multipack_buffer_size qlora_sharded_model_loading"
        ),
        "it is of several processes working together": (
            "ddp ddp_* deepcompile fsdp_version fsdp_final_state_dict_type world_size local_rank device device_map "
            "accelerator_config heads_k_stride ring_attn_func ray_run_name resources_per_worker* use_ray"
        ),
        "the base's own configuration says it": (
            "model_type type_of_model tokenizer_type processor_type is_falcon_derived_model is_llama_derived_model "
            "is_mistral_derived_model is_qwen_derived_model tokenizer_legacy"
        ),
        "a base whose own code would have to run is refused here; no other needs it": "trust_remote_code",
        "it is a secret: log in to the hub instead": "hf_use_auth_token",
        "a run here stops where its loss is no number": "loss_watchdog_*",
        "it is of a method that is not asked for": (
            "rl_beta dpo_beta dpo_label_smoothing dpo_loss_type dpo_loss_weights orpo_alpha simpo_gamma cpo_alpha "
            "kto_desirable_weight kto_undesirable_weight trl.* relora_* lora_r lora_alpha lora_dropout "
            "lora_target_linear lora_target_modules peft_use_rslora loraplus_lr_embedding eaft_* qgalore_* dion_* "
            "lisa_layers_attribute pose_* scaling_softmax_*"
        ),
    },
    lost={
        "resume_from_checkpoint": Lost(
            "goes on from a checkpoint with its optimiser; a run here goes on from its own alone",
            "name its adapter as lora_model_dir",
            (False, ""),
        ),
        "train_on_inputs": Lost("learns the question too; here only answers are learnt"),
        "batch_size": Lost("is the rows of a step", "write gradient_accumulation_steps in its place", ()),
        "auto_find_batch_size": Lost("makes batches smaller until they fit, so their size is not known"),
        "curriculum_sampling": Lost("keeps the order of the rows; here they are shuffled by the seed"),
        "shuffle_merged_datasets": Lost("keeps the order of the rows; here they are shuffled by the seed", "", (True,)),
        "shuffle_before_merging_datasets": Lost("shuffles each data set alone; here all rows are shuffled together"),
        "dataloader_drop_last": Lost("leaves out the rows of the last short batch"),
        "dataset_exact_deduplication": Lost(
            "takes rows that come twice out", "take them out: dabt data check names them"
        ),
        "dataset_shard_num": Lost(_PART, "write a file of it", (1,)),
        "dataset_shard_idx": Lost(_PART, "write a file of it", ()),
        "skip_prepare_dataset": Lost("reads rows that are tokens already"),
        "pretraining_dataset": Lost(
            "reads plain texts in a stream", "name the file under datasets, with type: completion", ()
        ),
        "min_sample_len": Lost("drops short rows", "take them out of the file", ()),
        "max_prompt_len": Lost("cuts questions; here a row that is too long is an error", "", ()),
        "eval_sequence_len": Lost("cuts validation rows; here sequence_len is the bound of all", "", ()),
        "default_system_message": Lost(
            "is put in by some templates alone", "write it into a file, and prompt.system: FILE into the result", ()
        ),
        "chat_template_kwargs": Lost("tells the chat template something", "", ({},)),
        "eot_tokens": Lost("names what ends a turn; here the chat template and the tokenizer say it", "", ()),
        "special_tokens.eos_token": Lost("changes what ends an answer; here the base's tokenizer says it", "", ()),
        "special_tokens.bos_token": Lost(_TOKENS, "", ()),
        "special_tokens.unk_token": Lost(_TOKENS, "", ()),
        "special_tokens.additional_special_tokens": Lost(_TOKENS, "", ([],)),
        "tokens": Lost(_TOKENS, "", ([],)),
        "added_tokens_overrides": Lost(_TOKENS, "", ({},)),
        "resize_token_embeddings_to_32x": Lost("resizes the embeddings"),
        "mean_resizing_embeddings": Lost("resizes the embeddings"),
        "shrink_embeddings": Lost("resizes the embeddings"),
        "fix_untrained_tokens": Lost("alters embeddings", "", (False, [])),
        "tokenizer_config": Lost("names another tokenizer than the base's", "", ()),
        "tokenizer_use_fast": Lost("takes the slow tokenizer; here the fast one is what serves", "", (True,)),
        "tokenizer_use_mistral_common": Lost("takes Mistral's own tokenizer"),
        "base_model_config": Lost("names another configuration than the base's", "", ()),
        "model_revision": Lost("names a revision of the base", "download it and name the folder", ("main",)),
        "revision_of_model": Lost("names a revision of the base", "download it and name the folder", ("main",)),
        "model_config": Lost("alters the base's configuration", "", ({},)),
        "overrides_of_model_config": Lost("alters the base's configuration", "", ({},)),
        "model_kwargs": Lost("loads the base in another way", "", ({},)),
        "reinit_weights": Lost("begins with random weights"),
        "load_in_8bit": Lost("packs the base in 8 bits; here a base is packed as NF4 (qlora), or not at all"),
        "gptq": Lost("trains over a base packed by GPTQ"),
        "bnb_config_kwargs": Lost("packs the base in another way than NF4 with its scales packed", "", ({},)),
        "lora_modules_to_save": Lost(_MODULES, "", ([],)),
        "lora_target_parameters": Lost("adapts bare parameters, which vLLM does not serve", "", ([],)),
        "lora_fan_in_fan_out": Lost("is of GPT-2's layers", "take method: merged_lora for such a base"),
        "lora_rank_pattern": Lost(_PATTERN, "", ({},)),
        "lora_alpha_pattern": Lost(_PATTERN, "", ({},)),
        "peft_layers_to_transform": Lost("adapts some layers alone", "", ()),
        "peft_layers_pattern": Lost("adapts some layers alone", "", ()),
        "peft_layer_replication": Lost("repeats layers, and a server has the base's own", "", ()),
        "peft_use_dora": Lost("trains DoRA, which vLLM refuses"),
        "peft_init_lora_weights": Lost("begins the adapter in another way", "", (True,)),
        "peft_trainable_token_indices": Lost("trains embeddings of tokens, which vLLM does not serve", "", ()),
        "peft_autocast_adapter_dtype": Lost("keeps the adapter in the base's type while it is trained", "", (True,)),
        "peft_ensure_weight_tying": Lost(_MODULES),
        "peft.loftq_config.loftq_bits": Lost("alters the base's weights (LoftQ)", "", ()),
        "loraplus_lr_ratio": Lost("gives the matrix B a rate of its own (LoRA+)", "", ()),
        "relora": Lost("merges and begins anew (ReLoRA)"),
        "merge_lora": Lost("merges the adapter into the base", "dabt export --merged does it"),
        "unfrozen_parameters": Lost("trains some parameters alone", "", ([],)),
        "lisa_n_layers": Lost("trains layers by turns (LISA)", "", ()),
        "lisa_step_interval": Lost("trains layers by turns (LISA)", "", ()),
        "embedding_lr": Lost(_RATES, "", ()),
        "embedding_lr_scale": Lost(_RATES, "", ()),
        "lr_groups": Lost(_RATES, "", ([],)),
        "lr_scheduler_kwargs": Lost(_SCHEDULE, "", ({},)),
        "lr_quadratic_warmup": Lost(_SCHEDULE),
        "cosine_min_lr_ratio": Lost(_SCHEDULE, "", ()),
        "cosine_constant_lr_ratio": Lost(_SCHEDULE, "", ()),
        "lr_div_factor": Lost(_SCHEDULE, "", ()),
        "jagged_restart_steps": Lost(_SCHEDULE, "", ()),
        "optim_args": Lost("sets the optimiser further", "", ({}, "")),
        "optim_target_modules": Lost("gives some modules an optimiser of their own", "", ([],)),
        "adam_beta1": Lost("is another first beta than AdamW's 0.9", "", (0.9,)),
        "adam_beta2": Lost("is another second beta than AdamW's 0.999", "", (0.999,)),
        "adam_epsilon": Lost("is another epsilon than AdamW's 1e-8", "", (1e-8,)),
        "neftune_noise_alpha": Lost("adds noise to embeddings (NEFTune)", "", ()),
        "noisy_embedding_alpha": Lost("adds noise to embeddings (NEFTune)", "", ()),
        "fp16": Lost("computes in float16; here a CPU does in float32 or bfloat16, and a GPU in bfloat16"),
        "float16": Lost("computes in float16; here a CPU does in float32 or bfloat16, and a GPU in bfloat16"),
        "bfloat16": Lost("keeps the adapter itself in bfloat16 while it is trained; here it is in float32"),
        "fp8": Lost("computes in 8 bits"),
        "fp8_enable_fsdp_float8_all_gather": Lost("computes in 8 bits"),
        "fp32_norms": Lost("computes norms in float32"),
        "metric_for_best_model": Lost("chooses the checkpoint by another figure", "", ("loss", "eval_loss")),
        "greater_is_better": Lost("calls the highest loss the best"),
        "early_stopping_patience": Lost(
            "counts validations, and here early_stopping counts epochs", "write evals_per_epoch: 1", ()
        ),
        "reward_model": Lost("trains a model of rewards"),
        "process_reward_model": Lost("trains a model of rewards"),
        "num_labels": Lost("trains a classifier", "take method: classification", ()),
        "rpo_alpha": Lost("weighs the chosen answer's own loss", "write method.sft into the result", ()),
        "dpo_use_weighting": Lost("weighs pairs (WPO)"),
        "dpo_norm_loss": Lost("divides the loss by the answers' length"),
        "use_eaft": Lost(_OTHER_LOSS),
        "use_pose": Lost("stretches the base's positions (PoSE)"),
        "rope_scaling": Lost("stretches the base's positions", "", ()),
        "scaling_softmax": Lost("alters the base's attention"),
        "trainer_cls": Lost("trains by code of its own", "write a method, and name it by an entry point", ()),
        "plugins": Lost("changes the training by code of its own", "", ([],)),
    },
)


def changes_speed_alone(plugins: object) -> bool:
    """Whether all plugins are kernels of Liger and Cut Cross Entropy, which compute the same loss."""
    return isinstance(plugins, list) and all(any(name in str(plugin) for name in _PLUGIN_SPEED) for plugin in plugins)
