"""LLaMA-Factory's keys that are not translated: what decides nothing here, and what would be lost.

Read in the sources of 0.9.5 and after: `hparams/`, and transformers' `Seq2SeqTrainingArguments`.
"""

from __future__ import annotations

from training.foreign import trainer_keys
from training.foreign.translation import Keys, Lost

_OTHER_LOSS = "trains by another loss, which is not here"
_OTHER_OPTIMISER = "trains by another optimiser, and AdamW is the one here"
_TOKENS = "adds tokens, and an adapter is served with the base's own vocabulary"
_MODULES = "trains modules beside the adapter, which a server would not serve"

KEYS = Keys(
    idle={
        "it says where results and logs go": (
            "output_dir overwrite_output_dir logging_* log_* run_name project trackio_* plot_loss "
            "use_swanlab swanlab_* "
            "print_param_status include_effective_tokens_per_second include_num_input_tokens_seen "
            "include_tokens_per_second disable_tqdm push_to_hub hub_* debug profiler_* enable_torch_profiler "
            "profile_modules"
        ),
        "a run here keeps its own checkpoints": (
            "save_steps save_strategy save_total_limit save_only_model save_safetensors save_on_each_node "
            "enable_jit_checkpoint ignore_data_skip restore_callback_states_from_checkpoint"
        ),
        "a run here validates at the end of each epoch": (
            "do_eval eval_strategy evaluation_strategy eval_steps eval_delay eval_on_start per_device_eval_batch_size "
            "eval_accumulation_steps eval_on_each_dataset compute_accuracy prediction_loss_only eval_num_beams "
            "eval_do_concat_batches eval_use_gather_object batch_eval_metrics include_for_metrics bf16_full_eval "
            "fp16_full_eval"
        ),
        "the best epoch by validation loss is always what is published": "load_best_model_at_end",
        "it is of answers, which evaluations ask for here": (
            "do_predict predict_with_generate generation_* max_new_tokens max_length temperature top_p top_k do_sample "
            "repetition_penalty length_penalty num_beams skip_special_tokens infer_backend infer_dtype vllm_* sglang_*"
        ),
        "it is of taking the result out: dabt export": "export_*",
        "it changes speed and memory alone": (
            "flash_attn use_unsloth use_unsloth_gc enable_liger_kernel use_liger_kernel liger_kernel_config "
            "use_v1_kernels use_reentrant_gc low_cpu_mem_usage offload_folder use_kv_cache use_cache "
            "dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor "
            "dataloader_in_order dataloader_multiprocessing_context preprocessing_* overwrite_cache cache_dir "
            "data_shared_file_system torch_compile* torch_empty_cache_steps gradient_checkpointing_kwargs "
            "skip_memory_metrics tf32 length_column_name use_cpu full_determinism remove_unused_columns"
        ),
        "it is of several processes working together": (
            "ddp_* local_rank average_tokens_across_devices master_addr master_port ray_init_kwargs fsdp_config "
            "hyper_parallel_args megatron_bridge_args"
        ),
        "a base whose own code would have to run is refused here; no other needs it": "trust_remote_code",
        "it is a secret: log in to the hub instead": "hf_hub_token ms_hub_token om_hub_token",
        "texts alone are trained here": (
            "media_dir image_* video_* audio_* crop_to_patches use_audio_in_video freeze_vision_tower "
            "freeze_multi_modal_projector"
        ),
        "it is of a method that is not asked for": (
            "pref_* dpo_label_smoothing simpo_gamma kto_* ppo_* reward_model* freeze_trainable_* galore_* apollo_* "
            "badam_* oft_* module_dropout asft_alpha eaft_alpha pissa_iter pissa_convert loraplus_lr_embedding "
            "lora_rank lora_alpha lora_dropout lora_target use_rslora quantization_method quantization_type "
            "double_quantization"
        ),
        "it is of the data set in streams; rows are always read one at a time": "streaming buffer_size",
    },
    lost={
        **trainer_keys.LOST,
        "train_on_prompt": Lost("learns the question too; here only answers are learnt"),
        "mask_history": Lost("learns the last answer alone", "give the answers before it weight 0 in the rows"),
        "ignore_pad_token_for_loss": Lost("learns padding", neutral=(True,)),
        "tool_format": Lost("writes tools in another form than the base's chat template", neutral=()),
        "preserve_thinking": Lost("keeps earlier reasoning; here the base's chat template decides"),
        "interleave_probs": Lost("shares of files count with mix_strategy: interleave_under alone", neutral=()),
        "disable_shuffling": Lost("keeps the order of the rows; here they are shuffled by the seed"),
        "early_stopping_steps": Lost(
            "counts validations, and here early_stopping counts epochs", "write eval_strategy: epoch", neutral=()
        ),
        "fp8": Lost("computes in 8 bits"),
        "fp8_backend": Lost("computes in 8 bits", neutral=("auto",)),
        "fp8_enable_fsdp_float8_all_gather": Lost("computes in 8 bits"),
        "pure_bf16": Lost("keeps the adapter itself in bfloat16 while it is trained; here it is in float32"),
        "upcast_layernorm": Lost("computes norms in float32"),
        "upcast_lmhead_output": Lost("computes the output layer in float32"),
        "additional_target": Lost(_MODULES, neutral=("",)),
        "use_dora": Lost("trains DoRA, which vLLM refuses"),
        "pissa_init": Lost("alters the base's weights (PiSSA), and the server has the unaltered base"),
        "create_new_adapter": Lost("merges the named adapter into the base and begins another"),
        "loraplus_lr_ratio": Lost("gives the matrix B a rate of its own (LoRA+)", neutral=()),
        "use_llama_pro": Lost("trains added blocks (LLaMA Pro)"),
        "use_galore": Lost(_OTHER_OPTIMISER),
        "use_apollo": Lost(_OTHER_OPTIMISER),
        "use_badam": Lost(_OTHER_OPTIMISER),
        "use_adam_mini": Lost(_OTHER_OPTIMISER),
        "use_muon": Lost(_OTHER_OPTIMISER),
        "use_mca": Lost("trains by Megatron"),
        "use_megatron_bridge": Lost("trains by Megatron"),
        "use_hyper_parallel": Lost("trains by HyperParallel"),
        "hyper_parallel_cp_size": Lost("trains by HyperParallel", neutral=(1,)),
        "use_kt": Lost("trains by KTransformers"),
        "use_dft_loss": Lost(_OTHER_LOSS),
        "use_asft_loss": Lost(_OTHER_LOSS),
        "use_eaft_loss": Lost(_OTHER_LOSS),
        "pref_bco_weight": Lost("adds the loss of a classifier of answers", neutral=(0, 0.0)),
        "ld_alpha": Lost("weighs long answers in another way (LD-DPO)", neutral=()),
        "ref_model": Lost(
            "measures against another model; here against the base, or the adapter gone on from", neutral=()
        ),
        "ref_model_adapters": Lost("measures against another adapter", neutral=()),
        "ref_model_quantization_bit": Lost("measures against a packed model", neutral=()),
        "freeze_extra_modules": Lost("trains modules outside the layers", neutral=()),
        "freeze_language_model": Lost("trains no language model"),
        "model_revision": Lost("names a revision of the base", "download it and name the folder", neutral=("main",)),
        "adapter_folder": Lost("names a folder of adapters", "name the adapter's whole path", neutral=()),
        "use_fast_tokenizer": Lost("takes the slow tokenizer; here the fast one is what serves", neutral=(True,)),
        "split_special_tokens": Lost("cuts special tokens into pieces"),
        "resize_vocab": Lost(_TOKENS),
        "add_tokens": Lost(_TOKENS, neutral=("",)),
        "add_special_tokens": Lost(_TOKENS, neutral=("",)),
        "new_special_tokens_config": Lost(_TOKENS, neutral=()),
        "init_special_tokens": Lost(_TOKENS, neutral=("noise_init",)),
        "rope_scaling": Lost("stretches the base's positions", neutral=()),
        "shift_attn": Lost("trains by shifted attention (LongLoRA)"),
        "mixture_of_depths": Lost("alters the base (mixture of depths)", neutral=()),
        "moe_aux_loss_coef": Lost("adds the routers' loss", neutral=()),
        "train_from_scratch": Lost("begins with random weights"),
        "quantization_bit": Lost("packs the base, which LoRA alone trains over", "leave it out", neutral=()),
        "quantization_device_map": Lost("lays the base over several devices", neutral=()),
        "do_train": Lost("false: it asks for no training", neutral=(True,)),
        "resume_from_checkpoint": Lost(
            "goes on from a checkpoint with its optimiser; a run here goes on from its own alone",
            "name its adapter as adapter_name_or_path",
        ),
    },
)

SYSTEM_TEXTS = frozenset(
    [
        "alpaca",
        "chatml_de",
        "dbrx",
        "deepseekcoder",
        "ernie",
        "gemma4",
        "gemma4n",
        "gpt_oss",
        "granite3_vision",
        "granite4",
        "intern2",
        "intern_vl",
        "kimi_vl",
        "lfm2",
        "lfm2_vl",
        "llama2_zh",
        "moonlight",
        "llava",
        "llava_next",
        "llava_next_qwen",
        "llava_next_video",
        "mimo",
        "mimo_v2",
        "mimo_vl",
        "minicpm_v",
        "minicpm_v_4_6",
        "minicpm_o",
        "minimax1",
        "minimax2",
        "opencoder",
        "qwen",
        "qwen2_audio",
        "qwen2_omni",
        "qwen2_vl",
        "sailor",
        "seed_coder",
        "smollm2",
        "telechat2",
        "vicuna",
        "video_llava",
        "xuanyuan",
        "yi_vl",
        "youtu_vl",
        "zephyr",
        "aeva",
    ]
)
"""Templates that put a system text of their own before rows that have none."""

THINKING = frozenset(
    [
        "deepseekr1",
        "hy3",
        "ernie_vl",
        "gemma4",
        "gemma4n",
        "glm4_moe",
        "glm4v",
        "glm4_5v",
        "glmz1",
        "gpt_oss",
        "keye_vl",
        "kimi_vl",
        "mimo",
        "mimo_v2",
        "mimo_vl",
        "minimax2",
        "qwen3",
        "qwen3_omni",
        "qwen3_vl",
        "qwen3_5",
        "qwen3_6",
        "seed_oss",
        "youtu",
    ]
)
"""Templates that put an empty thought before answers that have none; `enable_thinking` says whether it is learnt."""

REWRITES = frozenset(["alpaca", "chatml", "chatml_de", "default", "ernie_vl", "fewshot", "vicuna"])
"""Templates that take the place of the tokenizer's own chat template in what is saved."""
