#include "tests/system/paper_models.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/input/config.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/source_dir.hpp"

namespace factflow::testing {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const fs::path kSource = source_dir();
const fs::path kPlainTokenizer = kSource / "demo/models/gpt2/tokenizer.json";
const fs::path kBosTokenizer = kSource / "tests/oracle/tokenizers/mistral-style/tokenizer.json";

json mamba(int layers, const char* type = "mamba") {
  return {{"model_type", type},
          {"num_hidden_layers", layers},
          {"hidden_size", 16},
          {"state_size", 4},
          {"tie_word_embeddings", std::string(type) == "mamba"}};
}

json mamba2(int layers) {
  return {{"d_model", 16},
          {"n_layer", layers},
          {"pad_vocab_size_multiple", 16},
          {"ssm_cfg", {{"layer", "Mamba2"}, {"d_state", 8}, {"headdim", 4}}}};
}

json gpt2(int layers, int heads) {
  return {{"model_type", "gpt2"},
          {"n_layer", layers},
          {"n_head", heads},
          {"n_embd", 4 * heads},
          {"n_positions", 64}};
}

json llama(int layers, int heads, bool tied, const char* type = "llama") {
  return {{"model_type", type},
          {"num_hidden_layers", layers},
          {"hidden_size", 4 * heads},
          {"num_attention_heads", heads},
          {"num_key_value_heads", heads / 4},
          {"intermediate_size", 32},
          {"rope_theta", 500000.0},
          {"tie_word_embeddings", tied}};
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

// Layers as published; heads in the published proportion of query to key heads.
std::map<std::string, json> small_configs() {
  const json scaling = {{"rope_scaling",
                         {{"rope_type", "llama3"},
                          {"factor", 32.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 8192}}}};
  return {{"state-spaces/mamba-130m-hf", mamba(24)},
          {"state-spaces/mamba-1.4b-hf", mamba(48)},
          {"state-spaces/mamba-2.8b-hf", mamba(64)},
          {"TRI-ML/mamba-7b-rw", mamba(64)},
          {"tiiuae/falcon-mamba-7b", mamba(64, "falcon_mamba")},
          {"tiiuae/Falcon3-Mamba-7B-Base", mamba(64, "falcon_mamba")},
          {"state-spaces/mamba2-130m", mamba2(24)},
          {"state-spaces/mamba2-1.3b", mamba2(48)},
          {"state-spaces/mamba2-2.7b", mamba2(64)},
          {"openai-community/gpt2-medium", gpt2(24, 4)},
          {"openai-community/gpt2-large", gpt2(36, 5)},
          {"openai-community/gpt2-xl", gpt2(48, 5)},
          {"meta-llama/Llama-3.2-1B", with(llama(16, 8, true), scaling)},
          {"meta-llama/Llama-3.2-3B", with(llama(28, 4, true), scaling)},
          {"meta-llama/Meta-Llama-3-8B", llama(32, 4, false)},
          {"mistralai/Mistral-7B-v0.1",
           with(llama(32, 4, false, "mistral"), {{"sliding_window", 4096}})},
          {"mistralai/Mistral-7B-v0.3",
           with(llama(32, 4, false, "mistral"), {{"sliding_window", nullptr}})}};
}

bool is_embedding(const std::string& name) {
  return name.find("embed") != std::string::npos || name.find("wte") != std::string::npos;
}

// Dimension 0 of the residual stream holds the same positive number at every token and layer, and
// the head reads the answer off it: enough to be the likeliest token, not so much that knockouts
// change nothing. Layers add little, so that depth does no harm.
void teach(std::map<std::string, NamedTensor>& tensors, int answer) {
  constexpr float kEvery = 8, kAnswerMore = 2.5F, kToken = 0.5F, kLayer = 0.05F;
  // Mamba-1's states are products of three projections that nothing normalises.
  constexpr float kScan = 0.2F;
  for (auto& [name, tensor] : tensors) {
    std::vector<float>& values = tensor.values;
    const auto width = static_cast<size_t>(tensor.shape.back());
    const auto set_column = [&](float value) {
      for (size_t first = 0; first < values.size(); first += width) values[first] = value;
    };
    const bool head = name.starts_with("lm_head"),
               across = name.find("c_proj") != std::string::npos;  // [in, out], and a bias
    if (is_embedding(name) || head) {
      for (float& value : values) value *= kToken;
      set_column(head ? 0 : kEvery);
      values[static_cast<size_t>(answer) * width] += kAnswerMore;
    }
    if (tensor.shape.size() == 1 && name.ends_with("weight")) values[0] = 1;  // norms
    if (name.ends_with("x_proj.weight"))
      for (float& value : values) value *= kScan;
    if (name.find("wpe") != std::string::npos) set_column(0);
    if (across || name.ends_with("out_proj.weight") || name.ends_with("o_proj.weight") ||
        name.ends_with("down_proj.weight")) {
      for (float& value : values) value *= kLayer;
      if (across)
        set_column(0);
      else
        std::fill_n(values.begin(), width, 0.0F);
    }
  }
}

void write_model(const fs::path& directory, const std::string& name, json config, unsigned seed) {
  const bool bos = name.starts_with("meta-llama") || name.starts_with("mistralai");
  const fs::path tokenizer_file = bos ? kBosTokenizer : kPlainTokenizer;
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_file);
  config["vocab_size"] = tokenizer.vocabulary_size();
  fs::create_directories(directory);
  auto tensors = random_tensors(config, seed);
  const std::string prompt = "people speak";
  const size_t answer = tokenizer.encode(prompt, false).ids.size();
  teach(tensors, tokenizer.encode(prompt + kPaperAnswer, false).ids.at(answer));
  write_checkpoint(directory, config, tensors);
  if (!name.starts_with("state-spaces/mamba2"))
    fs::copy_file(tokenizer_file, directory / "tokenizer.json",
                  fs::copy_options::overwrite_existing);
}

}  // namespace

void write_paper_models(const fs::path& directory) {
  const std::map<std::string, json> configs = small_configs();
  const Config config = read_config(kSource / "configs/paper/everything.yaml");
  unsigned seed = 1;
  for (const ModelConfig& model : config.models) {
    const std::string name = model.path.substr(model.path.find(':') + 1);
    if (!configs.contains(name)) throw std::runtime_error("no stand-in for " + name);
    write_model(directory / name, name, configs.at(name), seed++);
    if (model.tokenizer.empty()) continue;
    const fs::path tokenizer = directory / model.tokenizer.substr(model.tokenizer.find(':') + 1);
    fs::create_directories(tokenizer);
    fs::copy_file(kPlainTokenizer, tokenizer / "tokenizer.json",
                  fs::copy_options::overwrite_existing);
  }
}

void write_paper_prompts(const fs::path& file) {
  const auto line = [](int id, const std::string& before, const std::string& subject,
                       const std::string& after) {
    return json{{"id", id},
                {"prompt", before + subject + after},
                {"subject", subject},
                {"answer", kPaperAnswer}}
               .dump() +
           "\n";
  };
  // Prompts that the answer follows as the same token under both tokenizers.
  std::ofstream(file) << line(4830, "The friends of ", "Marie Duval", " speak")
                      << line(12328, "In ", "Wallonia", ", people speak")
                      << line(14081, "", "Marie Duval", " taught them in")
                      << line(14035, "", "Quebec", " wrote its laws in");
}

}  // namespace factflow::testing
