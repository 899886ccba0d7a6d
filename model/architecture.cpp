#include "model/architecture.hpp"

#include <algorithm>
#include <cctype>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

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
                 "unsloth_version",
                 "seq_length",
                 "max_seq_len",
                 "use_flash_attn",
                 "use_flash_attention",
                 "use_flash_attention_2",
                 "_flash_attn_2_enabled"});
  config.ignore_unless_null({"use_cache", "initializer_range"});
  config.expect("add_cross_attention", false);
  config.expect_or_null("pruned_heads", nlohmann::json::object());
}

// Dropouts of all families: none is at work after training.
void ignore_dropouts(ConfigReader& config) {
  config.ignore({"activation_dropout", "attention_dropout", "attention_probs_dropout_prob",
                 "attn_dropout", "attn_pdrop", "classifier_dropout", "dropout", "embd_dropout",
                 "embd_pdrop", "embedding_dropout", "ffn_dropout", "hidden_dropout",
                 "hidden_dropout_prob", "layerdrop", "mlp_dropout", "resid_dropout", "resid_pdrop",
                 "residual_dropout", "summary_first_dropout"});
}

// What other families have and these have not, with the value that says so. Keys that a family
// reads by itself never come here.
const std::map<std::string, nlohmann::json>& switched_off() {
  static const std::map<std::string, nlohmann::json> values = {
      {"add_bias_linear", false},
      {"alibi", false},
      {"attention_bias", false},
      {"attention_out_bias", false},
      {"attention_sinks", false},
      {"attn_bias", false},
      {"attn_output_gate", false},
      {"bias", false},
      {"cross_attention", false},
      {"embedding_multiplier", 1},
      {"is_moe", false},
      {"lm_head_bias", false},
      {"logit_scale", 1},
      {"logits_scaling", 1},
      {"mlp_bias", false},
      {"multi_query", false},
      {"mup", false},
      {"n_routed_experts", 0},
      {"n_shared_experts", 0},
      {"new_decoder_architecture", false},
      {"num_experts", 0},
      {"num_local_experts", 0},
      {"output_router_logits", false},
      {"parallel_attn", false},
      {"partial_rotary_factor", 1},
      {"qk_layernorm", false},
      {"qk_norm", false},
      {"qkv_bias", false},
      {"residual_multiplier", 1},
      {"rope_interleaved", false},
      {"rotary_pct", 1},
      {"scale_attn_by_inverse_layer_idx", false},
      {"scale_embedding", false},
      {"use_alibi", false},
      {"use_bias", false},
      {"use_cross_attention", false},
      {"use_lora", false},
      {"use_moe", false},
      {"use_mrope", false},
      {"use_mup", false},
      {"use_parallel_residual", false},
      {"use_qk_norm", false},
      {"use_qkv_bias", false},
      {"use_sliding_window", false},
  };
  return values;
}

// Windows that are switched off where the family has none.
void ignore_windows_that_are_off(ConfigReader& config) {
  if (config.says("use_sliding_window", false))
    config.ignore({"sliding_window", "max_window_layers"});
}

// "gptq, 4 bits", as far as it is said.
std::string described(const nlohmann::json& quantization) {
  std::vector<std::string> words;
  if (quantization.is_object()) {
    if (const auto method = quantization.find("quant_method");
        method != quantization.end() && method->is_string())
      words.push_back(in_quotes(method->get<std::string>()));
    for (const char* key : {"bits", "w_bit"})
      if (quantization.contains(key) && quantization.at(key).is_number_integer())
        words.push_back(fmt::format("{} bits", quantization.at(key).dump()));
    for (const char* key : {"load_in_4bit", "load_in_8bit"})
      if (quantization.contains(key) && quantization.at(key) == true) words.emplace_back(key);
  }
  return words.empty() ? "" : fmt::format(" ({})", join(words));
}

void refuse_quantised_weights(ConfigReader& config) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    const nlohmann::json& value = config.raw(key);
    if (value.is_null() || value == nlohmann::json::object()) continue;
    config.fail(key,
                fmt::format("says that the weights are quantised{}, which is not supported",
                            described(value)),
                "use the checkpoint that they were made from, or save them dequantised: "
                "model.dequantize() and save_pretrained() of transformers");
  }
}

// Whether a family is computed by code of this name wherever it is: transformers has no class of
// RWKV-7, whose files name flash-linear-attention's.
bool is_the_family(const std::string& family, const nlohmann::json& code) {
  return family.starts_with("rwkv7") && code.is_string() &&
         code.get_ref<const std::string&>().starts_with("modeling_rwkv7.");
}

// Code beside the weights may compute anything, and is not run.
void refuse_own_code(ConfigReader& config, const std::string& family) {
  const nlohmann::json& map = config.raw("auto_map");
  if (!map.is_object()) return;
  for (const char* part : {"AutoModelForCausalLM", "AutoModel", "AutoConfig"})
    if (const auto code = map.find(part);
        code != map.end() && !code->is_null() && !is_the_family(family, *code))
      config.fail(
          "auto_map",
          fmt::format("says that the model is computed by code of its own ({}), which is "
                      "not run",
                      in_quotes(code->is_string() ? code->get<std::string>() : code->dump())),
          "if it computes what transformers' own class of this model_type does, remove the "
          "key");
}

// The same name in other letters: "GPT-NeoX" for gpt_neox.
std::string plain_letters(const std::string& name) {
  std::string plain;
  for (const char c : name)
    if (c != '-' && c != '_' && c != '.' && c != ' ')
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return plain;
}

// A near name is not proposed: qwen3 is another model than qwen2.
[[noreturn]] void refuse_family(ConfigReader& config, const std::string& type) {
  std::vector<std::string> known;
  std::string meant;
  for (const Family& family : families()) {
    known.emplace_back(family.model_type);
    if (plain_letters(type) == plain_letters(family.model_type))
      meant = fmt::format(", did you mean '{}'?", family.model_type);
  }
  const nlohmann::json& map = config.raw("auto_map");
  config.fail(
      "model_type",
      fmt::format(
          "unknown model family {}{}{}", in_quotes(type), meant,
          map.is_object() && !map.empty() ? ", which code of its own computes (auto_map)" : ""),
      "supported families: " + join(known));
}

Architecture read_family(ConfigReader& config, const Family& family) {
  refuse_own_code(config, family.model_type);
  refuse_quantised_weights(config);
  ignore_common_keys(config);
  ignore_dropouts(config);
  ignore_windows_that_are_off(config);
  Architecture architecture = family.read(config);
  architecture.family = family.model_type;
  config.finish(switched_off());
  return architecture;
}

// The text model of a file that has a vision tower, of which nothing is read.
Architecture read_text_part(ConfigReader& config, const Family& family) {
  refuse_quantised_weights(config);
  ignore_common_keys(config);
  config.ignore({"vision_config", "image_token_id", "video_token_id", "vision_start_token_id",
                 "vision_end_token_id"});
  const nlohmann::json& part = config.raw("text_config");
  if (!part.is_object())
    config.fail("text_config", fmt::format("expected an object, found {}", part.dump()));
  ConfigReader text(part, config.file(), "text_config.");
  text.expect("model_type", family.text_part);
  Architecture architecture = read_family(text, family_named(family.text_part));
  // Published files say the same at both places.
  config.expect("tie_word_embeddings", architecture.tied_head);
  config.finish({});
  architecture.assumed = text.assumed();
  return architecture;
}

Architecture read_configured(const nlohmann::json& config, const std::filesystem::path& file) {
  ConfigReader reader(config, file);
  Architecture architecture;
  if (!reader.has("model_type") && reader.has("d_model")) {
    architecture = read_mamba_ssm(reader);
    reader.finish({});
  } else {
    const std::string type = reader.word("model_type");
    const auto& all = families();
    const auto family = std::find_if(all.begin(), all.end(),
                                     [&](const Family& known) { return type == known.model_type; });
    if (family == all.end()) refuse_family(reader, type);
    if (family->text_part != nullptr && reader.has("text_config"))
      return read_text_part(reader, *family);
    architecture = read_family(reader, *family);
  }
  architecture.assumed = reader.assumed();
  return architecture;
}

// Those that mixers have; layers that share a shape keep sharing it.
void apply(const CheckpointChoices& choices, Architecture& architecture,
           const std::filesystem::path& file) {
  if (choices.gated_norm == GatedNormChoice::kPerGroup) return;
  std::map<std::shared_ptr<const MixerShape>, std::shared_ptr<const MixerShape>> changed;
  for (LayerShape& layer : architecture.blocks)
    for (BlockShape& block : layer) {
      const auto [entry, added] = changed.try_emplace(block.mixer);
      if (added) entry->second = block.mixer->chosen(choices);
      if (entry->second != nullptr) block.mixer = entry->second;
    }
  if (std::none_of(changed.begin(), changed.end(),
                   [](const auto& entry) { return entry.second != nullptr; }))
    throw InputError(file.string(),
                     "gated_norm: all-channels is asked for, and this model has no gated norm",
                     "leave the key out");
}

}  // namespace

int Architecture::channels(Path path) const {
  int fewest = std::numeric_limits<int>::max();
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->mixes_tokens() && covers(path, block.mixer->path()))
        fewest = std::min(fewest, block.mixer->channels());
  return fewest == std::numeric_limits<int>::max() ? 0 : fewest;
}

bool Architecture::has(Path path) const {
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->mixes_tokens() && covers(path, block.mixer->path())) return true;
  return false;
}

int Architecture::taps() const {
  int taps = 0;
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer) taps = std::max(taps, block.mixer->taps());
  return taps;
}

bool Architecture::keeps_states() const {
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->keeps_states()) return true;
  return false;
}

bool Architecture::routes() const {
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->routes()) return true;
  return false;
}

std::string Architecture::mixing() const {
  std::vector<std::string> names;
  for (const LayerShape& layer : blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->mixes_tokens() &&
          std::find(names.begin(), names.end(), block.mixer->name()) == names.end())
        names.push_back(block.mixer->name());
  return join(names, "+");
}

std::vector<Site> Architecture::sites() const {
  std::set<Site> sites{Site::kNorm};
  for (const LayerShape& layer : blocks)
    for (const Site site : sites_of(layer)) sites.insert(site);
  return {sites.begin(), sites.end()};
}

Architecture read_architecture(const nlohmann::json& config, const std::filesystem::path& file,
                               const CheckpointChoices& choices) {
  Architecture architecture = read_configured(config, file);
  architecture.head_chosen = choices.head != HeadChoice::kConfigured;
  if (architecture.head_chosen) architecture.tied_head = choices.head == HeadChoice::kEmbedding;
  apply(choices, architecture, file);
  return architecture;
}

}  // namespace factflow
