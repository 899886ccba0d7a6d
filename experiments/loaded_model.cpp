#include "experiments/loaded_model.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

std::vector<std::string> names_of(const std::vector<LayerShape>& layers) {
  std::vector<std::string> names;
  for (const LayerShape& layer : layers) names.push_back(layer_name(layer));
  return names;
}

}  // namespace

void require_vocabulary(const Tokenizer& tokenizer, int vocabulary, const std::string& path) {
  if (tokenizer.model_size() > vocabulary)
    throw InputError(path,
                     fmt::format("the tokenizer has {} tokens, the model only {}",
                                 tokenizer.model_size(), vocabulary),
                     "name the right one with models: {tokenizer: PATH}");
}

void require_tokens(const std::vector<int>& ids, const Architecture& architecture,
                    const std::string& where) {
  for (const int id : ids)
    if (id >= architecture.vocabulary)
      throw InputError(
          where, fmt::format("has the token {}, the model only {}", id, architecture.vocabulary));
  const std::int64_t longest = architecture.max_positions;
  if (longest > 0 && static_cast<std::int64_t>(ids.size()) > longest)
    throw InputError(where, fmt::format("has {} tokens, the model takes {}", ids.size(), longest));
}

void require_tokens(const TokenizedPrompt& tokens, const Architecture& architecture,
                    const std::string& where) {
  require_tokens(tokens.ids, architecture, where);
  if (tokens.answer >= architecture.vocabulary)
    throw InputError(where, fmt::format("the answer is token {}, the model has only {}",
                                        tokens.answer, architecture.vocabulary));
}

LoadedModel::LoadedModel(const ModelSource& source, at::Device device, Precision precision,
                         std::int64_t memory_limit, std::string host, bool facts_wanted)
    : LoadedModel(std::make_shared<const Checkpoint>(Checkpoint::open(source.path)), source, device,
                  precision, memory_limit, std::move(host), facts_wanted) {}

LoadedModel::LoadedModel(std::shared_ptr<const Checkpoint> checkpoint, const ModelSource& source,
                         at::Device device, Precision precision, std::int64_t memory_limit,
                         std::string host, bool facts_wanted)
    : checkpoint_(std::move(checkpoint)),
      digest_(std::async(facts_wanted ? std::launch::async : std::launch::deferred,
                         [checkpoint = checkpoint_] { return checkpoint->digest(); })),
      tokenizer_(Tokenizer::load(source.tokenizer.empty()
                                     ? checkpoint_->directory()
                                     : std::filesystem::path(source.tokenizer))),
      answer_(source.answer),
      network_(Network::load(checkpoint_, device, precision, source.choices)),
      engine_(std::in_place, *network_, memory_limit),
      host_(std::move(host)) {
  require_vocabulary(tokenizer_, network_->architecture().vocabulary, source.path);
}

const ModelFacts& LoadedModel::facts() {
  if (!facts_) {
    const Architecture& architecture = network_->architecture();
    facts_ = ModelFacts{architecture.family,
                        names_of(architecture.blocks),
                        architecture.layers,
                        architecture.hidden,
                        architecture.vocabulary,
                        network_->parameters(),
                        digest_.get(),
                        tokenizer_.digest(),
                        library_versions(),
                        describe(network_->device()),
                        host_,
                        check_.runs,
                        check_.largest,
                        check_.of};
  }
  return *facts_;
}

void LoadedModel::check_self(const std::vector<ReplayRequest>& requests) {
  for (const ReplayRequest& request : requests) {
    const SelfCheck check = check_against_reference(*engine_, *network_, request);
    if (!check.passed())
      throw RunError(fmt::format(
          "the engine does not agree with whole forwards on {} in {}: {}; allowed are {:.2g} and a "
          "median of {:.2g}; run: {{self_check: off}} leaves the check out",
          describe(network_->device()), to_string(network_->precision()), check.in_words(),
          check.largest_allowed, check.median_allowed));
    check_.runs += check.runs;
    if (check.largest >= check_.largest) {
      check_.largest = check.largest;
      check_.of = check.of;
    }
  }
}

TokenizedPrompt LoadedModel::tokenize_prompt(const Prompt& prompt) const {
  TokenizedPrompt tokens = tokenize(tokenizer_, prompt, answer_);
  require_tokens(tokens, network_->architecture(), fmt::format("prompt {}", prompt.id));
  return tokens;
}

std::vector<TokenizedPrompt> LoadedModel::tokenize_usable(
    const std::vector<Prompt>& prompts) const {
  std::vector<TokenizedPrompt> tokens;
  for (const Prompt& prompt : prompts) try {
      tokens.push_back(tokenize_prompt(prompt));
    } catch (const InputError&) {  // who needs all of them counts
    }
  return tokens;
}

std::vector<int> LoadedModel::answer_tokens(const std::string& text,
                                            const std::string& answer) const {
  return factflow::answer_tokens(tokenizer_, text, answer, answer_);
}

std::vector<ReplayResult> LoadedModel::replay(const std::vector<ReplayRequest>& requests, int top,
                                              ReadsOn reads) {
  try {
    return engine_->run(requests, top, reads);
  } catch (const c10::Error& error) {
    if (!is_out_of_memory(error)) throw;
  }
  const std::int64_t limit = engine_->memory_limit();
  engine_.reset();  // its buffers go first
  release_cached_memory(network_->device());
  engine_.emplace(*network_, limit);
  throw MemoryError(fmt::format(
      "{} has less memory free than the {} that passes may take; set run: {{memory_limit: "
      "SIZE}} to less",
      describe(network_->device()), format_bytes(static_cast<double>(limit))));
}

}  // namespace factflow
