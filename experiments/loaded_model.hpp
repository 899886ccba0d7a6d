// A model on its device, with tokenizer and engine.
#pragma once

#include <any>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint_choices.hpp"
#include "model/network.hpp"
#include "model/prompt.hpp"
#include "model/replay/replay.hpp"
#include "model/replay/self_check.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {

// Where a model comes from and how its prompts are read.
struct ModelSource {
  std::string path = {};  // as Checkpoint::open() takes it
  CheckpointChoices choices = {};
  std::string tokenizer = {};  // path; empty = the one beside the checkpoint
  AnswerRule answer = AnswerRule::kContinuation;
};

// What was loaded, for the record.
struct ModelFacts {
  std::string family;
  std::vector<std::string> layer_blocks;  // of each layer; see layer_name()
  std::int64_t layers = 0, hidden_size = 0, vocabulary = 0, parameters = 0;
  std::string checkpoint_digest, tokenizer_digest;
  std::string libraries, device, host;
  // What the engine was held against before the model's first unit (model/replay/self_check.hpp):
  // how many runs, their largest difference, and of which run that was. 0: nothing.
  std::int64_t check_runs = 0;
  double check_largest = 0;
  std::string check_of = {};
};

// Throws InputError if a tokenizer's model has tokens that the checkpoint at `path` has no
// embedding of. Tokens that were added for chats may lie beyond: a prompt that has one is refused
// on its own.
void require_vocabulary(const Tokenizer& tokenizer, int vocabulary, const std::string& path);

// Throws InputError(where) for a token outside the model's vocabulary, and for more tokens than it
// takes.
void require_tokens(const std::vector<int>& ids, const Architecture& architecture,
                    const std::string& where);
// The same for a prompt and its answer's token.
void require_tokens(const TokenizedPrompt& tokens, const Architecture& architecture,
                    const std::string& where);

class LoadedModel {
 public:
  // facts_wanted: facts() will be called, so the checkpoint's digest is computed while the model is
  // loaded.
  LoadedModel(const ModelSource& source, at::Device device, Precision precision,
              std::int64_t memory_limit, std::string host, bool facts_wanted = false);

  // Of a checkpoint that is open already: source.path is what messages call it.
  LoadedModel(std::shared_ptr<const Checkpoint> checkpoint, const ModelSource& source,
              at::Device device, Precision precision, std::int64_t memory_limit, std::string host,
              bool facts_wanted = false);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Network& network() const { return *network_; }
  // For edits (model/edit/edit_slot.hpp), which undo themselves.
  Network& network() { return *network_; }
  // Names of the checkpoint's tensors that are used where they lie.
  std::vector<std::string> in_place() const { return checkpoint_->lent(); }
  const ModelFacts& facts();  // the checkpoint's digest reads all of it once

  // The prompt's tokens, checked against the model. Throws InputError.
  TokenizedPrompt tokenize_prompt(const Prompt& prompt) const;
  // Of those that have tokens.
  std::vector<TokenizedPrompt> tokenize_usable(const std::vector<Prompt>& prompts) const;
  // All tokens of an answer behind a text, by the model's rule (model/prompt.hpp).
  std::vector<int> answer_tokens(const std::string& text, const std::string& answer) const;
  // What a kind derives from the model with much work and keeps for its next units; it goes with
  // the model. `key` says all that it depends on.
  template <class T>
  const T& derived(const std::string& key, const std::function<T()>& make) {
    std::any& kept = derived_[key];
    if (!kept.has_value()) kept = std::make_shared<const T>(make());
    return *std::any_cast<const std::shared_ptr<const T>&>(kept);
  }
  // Runs requests; `top` likeliest tokens of the clean run. Throws MemoryError if a single prompt
  // does not fit, or if the device has less memory than passes may take: smaller ones would change
  // the last bits unasked.
  std::vector<ReplayResult> replay(const std::vector<ReplayRequest>& requests, int top = 0,
                                   ReadsOn reads = ReadsOn::kHost);
  // Holds the engine against whole forwards, as large as the requests are, and notes it among the
  // facts. Throws RunError if they do not agree.
  void check_self(const std::vector<ReplayRequest>& requests);

 private:
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::future<std::string> digest_;  // deferred until facts() if no facts were wanted
  Tokenizer tokenizer_;
  AnswerRule answer_;
  std::unique_ptr<Network> network_;
  std::optional<ReplayEngine> engine_;
  std::string host_;
  SelfCheck check_;  // of all requests
  std::optional<ModelFacts> facts_;
  std::map<std::string, std::any> derived_;
};

}  // namespace factflow
