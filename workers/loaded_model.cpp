#include "workers/loaded_model.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"

namespace factflow {

LoadedModel::LoadedModel(const ModelJob& job, at::Device device, Precision precision,
                         std::int64_t memory_limit, std::string host, bool facts_wanted)
    : checkpoint_(std::make_shared<const Checkpoint>(Checkpoint::open(job.path))),
      digest_(std::async(facts_wanted ? std::launch::async : std::launch::deferred,
                         [checkpoint = checkpoint_] { return checkpoint->digest(); })),
      tokenizer_(Tokenizer::load(job.tokenizer.empty() ? checkpoint_->directory()
                                                       : std::filesystem::path(job.tokenizer))),
      answer_(job.answer),
      network_(Network::load(checkpoint_, device, precision, job.choices)),
      engine_(std::in_place, *network_, memory_limit),
      host_(std::move(host)) {
  // Tokens that were added for chats may lie beyond the embedding; a prompt that has one is refused
  // on its own.
  if (tokenizer_.model_size() > network_->architecture().vocabulary)
    throw InputError(job.path,
                     fmt::format("the tokenizer has {} tokens, the model only {}",
                                 tokenizer_.model_size(), network_->architecture().vocabulary),
                     "name the right one with models: {tokenizer: PATH}");
}

const ModelFacts& LoadedModel::facts() {
  if (!facts_) {
    const Architecture& architecture = network_->architecture();
    facts_ = ModelFacts{architecture.family,          architecture.layers,
                        architecture.hidden,          architecture.vocabulary,
                        network_->parameters(),       digest_.get(),
                        tokenizer_.digest(),          library_versions(),
                        describe(network_->device()), host_};
  }
  return *facts_;
}

TokenizedPrompt LoadedModel::tokenize_prompt(const Prompt& prompt) const {
  TokenizedPrompt tokens = tokenize(tokenizer_, prompt, answer_);
  const int vocabulary = network_->architecture().vocabulary;
  for (const int id : tokens.ids)
    if (id >= vocabulary)
      throw InputError(fmt::format("prompt {}", prompt.id),
                       fmt::format("has the token {}, the model only {}", id, vocabulary));
  if (tokens.answer >= vocabulary)
    throw InputError(
        fmt::format("prompt {}", prompt.id),
        fmt::format("the answer is token {}, the model has only {}", tokens.answer, vocabulary));
  const std::int64_t longest = network_->architecture().max_positions;
  if (longest > 0 && static_cast<std::int64_t>(tokens.ids.size()) > longest)
    throw InputError(fmt::format("prompt {}", prompt.id),
                     fmt::format("has {} tokens, the model takes {}", tokens.ids.size(), longest));
  return tokens;
}

std::vector<ReplayResult> LoadedModel::replay(const std::vector<ReplayRequest>& requests, int top) {
  try {
    return engine_->run(requests, top);
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
