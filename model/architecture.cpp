#include "model/architecture.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/config_reader.hpp"
#include "model/families/family.hpp"

namespace factflow {
namespace {

// Keys of transformers' base configuration: text generation, training and book-keeping.
void ignore_common_keys(ConfigReader& config) {
  config.ignore({"model_type",
                 "architectures",
                 "transformers_version",
                 "torch_dtype",
                 "dtype",
                 "_name_or_path",
                 "name_or_path",
                 "_commit_hash",
                 "bos_token_id",
                 "eos_token_id",
                 "pad_token_id",
                 "unk_token_id",
                 "sep_token_id",
                 "decoder_start_token_id",
                 "output_attentions",
                 "output_hidden_states",
                 "return_dict",
                 "torchscript",
                 "use_bfloat16",
                 "is_encoder_decoder",
                 "is_decoder",
                 "task_specific_params",
                 "problem_type",
                 "id2label",
                 "label2id",
                 "num_labels",
                 "finetuning_task",
                 "tokenizer_class",
                 "prefix",
                 "auto_map",
                 "attn_implementation",
                 "_attn_implementation",
                 "_attn_implementation_autoset",
                 "model_max_length",
                 "max_length",
                 "min_length",
                 "do_sample",
                 "early_stopping",
                 "num_beams",
                 "num_beam_groups",
                 "diversity_penalty",
                 "temperature",
                 "top_k",
                 "top_p",
                 "typical_p",
                 "repetition_penalty",
                 "length_penalty",
                 "no_repeat_ngram_size",
                 "encoder_no_repeat_ngram_size",
                 "bad_words_ids",
                 "num_return_sequences",
                 "chunk_size_feed_forward",
                 "output_scores",
                 "return_dict_in_generate",
                 "forced_bos_token_id",
                 "forced_eos_token_id",
                 "remove_invalid_values",
                 "exponential_decay_length_penalty",
                 "suppress_tokens",
                 "begin_suppress_tokens",
                 "tie_encoder_decoder",
                 "cross_attention_hidden_size",
                 "tf_legacy_loss",
                 "gradient_checkpointing",
                 "keys_to_ignore_at_inference",
                 "output_past",
                 "_num_labels",
                 "max_sequence_length",
                 "transformers.js_config",
                 "unsloth_fixed",
                 "unsloth_version"});
  config.ignore_unless_null({"use_cache", "initializer_range"});
  config.expect("add_cross_attention", false);
  config.expect_or_null("pruned_heads", nlohmann::json::object());
  config.expect("quantization_config", nullptr);
}

Architecture read_configured(const nlohmann::json& config, const std::filesystem::path& file) {
  ConfigReader reader(config, file);
  if (!reader.has("model_type") && reader.has("d_model")) {
    Architecture architecture = read_mamba_ssm(reader);
    reader.finish();
    return architecture;
  }
  const std::string type = reader.word("model_type");
  std::vector<std::string> known;
  for (const Family& family : families()) {
    known.emplace_back(family.model_type);
    if (type != family.model_type) continue;
    ignore_common_keys(reader);
    Architecture architecture = family.read(reader);
    architecture.family = type;
    reader.finish();
    return architecture;
  }
  throw InputError(file.string(), "key model_type: " + unknown_word("model family", type, known),
                   "supported families: " + join(known));
}

}  // namespace

std::string Architecture::mixing() const {
  if (std::holds_alternative<MambaShape>(shape)) return "mamba";
  return std::holds_alternative<Mamba2Shape>(shape) ? "mamba2" : "attention";
}

int Architecture::channels() const {
  if (const auto* shape1 = std::get_if<MambaShape>(&shape)) return shape1->inner;
  if (const auto* shape2 = std::get_if<Mamba2Shape>(&shape)) return shape2->heads;
  return 0;
}

Architecture read_architecture(const nlohmann::json& config, const std::filesystem::path& file,
                               const CheckpointChoices& choices) {
  Architecture architecture = read_configured(config, file);
  architecture.head_chosen = choices.head != HeadChoice::kConfigured;
  if (architecture.head_chosen) architecture.tied_head = choices.head == HeadChoice::kEmbedding;
  if (choices.gated_norm == GatedNormChoice::kAllChannels) {
    auto* mamba2 = std::get_if<Mamba2Shape>(&architecture.shape);
    if (mamba2 == nullptr || !mamba2->gated_norm)
      throw InputError(file.string(),
                       "gated_norm: all-channels is asked for, and this model has no gated norm",
                       "leave the key out");
    mamba2->norm_group = mamba2->inner;
  }
  return architecture;
}

}  // namespace factflow
