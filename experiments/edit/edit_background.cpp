#include "experiments/edit/edit_background.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "experiments/text_documents.hpp"
#include "model/edit/optimise.hpp"

namespace factflow {
namespace {

// Meng et al. draw contexts from the five likeliest tokens.
constexpr int kContextTop = 5, kDocumentTop = 50;
constexpr int kSampledDocument = 64, kLongestDocument = 512;  // tokens
// Seeds of what is drawn.
constexpr std::uint64_t kContextStream = 0x636F6E74, kDocumentStream = 0x646F6375;

// Between 0 and 1.
double uniform(std::uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// The token in whose part of the summed probabilities `at` falls, `at` being a share of all.
int token_at(const std::vector<TopToken>& top, const std::vector<int>& excluded, double at) {
  const auto stays = [&](const TopToken& one) {
    return std::find(excluded.begin(), excluded.end(), one.token) == excluded.end();
  };
  double all = 0, sum = 0;
  for (const TopToken& one : top)
    if (stays(one)) all += one.probability;
  std::optional<int> last;
  for (const TopToken& one : top) {
    if (!stays(one)) continue;
    last = one.token;
    sum += one.probability;
    if (sum > at * all) break;
  }
  if (!last) throw std::logic_error("a text of no tokens is sampled");
  return *last;
}

struct Start {
  std::vector<int> ids;
  std::string words;
};

// The tokenizer's own first token, or the one that parts texts, or some text's first.
Start start_of(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
               std::uint64_t seed) {
  const std::vector<int> before = tokens_before_texts(tokenizer);
  if (!before.empty()) return {before, tokenizer.token_text(before.front())};
  for (const char* word : {"<|endoftext|>", "<|begin_of_text|>", "<bos>", "<s>", "</s>"}) {
    const std::vector<int> ids = tokenizer.encode_raw(word).ids;
    if (ids.size() == 1) return {ids, word};
  }
  const std::string& text = texts.at(mixed_bits(seed) % texts.size());
  return {{tokenizer.encode(text).ids.at(0)},
          fmt::format("the first token of {}", in_quotes(text))};
}

int longest_run(const Architecture& architecture, int longest) {
  return architecture.max_positions == 0
             ? longest
             : static_cast<int>(std::min<std::int64_t>(longest, architecture.max_positions));
}

// Tokens of texts until there are so many, each cut where the model would take no more.
std::vector<std::vector<int>> documents(const LoadedModel& model,
                                        const std::vector<std::string>& texts, std::int64_t tokens,
                                        const std::string& where) {
  std::vector<std::vector<int>> runs;
  std::int64_t count = 0;
  for (const std::string& text : texts) {
    if (count >= tokens) break;
    std::vector<int> ids = document_tokens(model, text, kLongestDocument, where);
    if (ids.empty()) continue;
    count += static_cast<std::int64_t>(ids.size());
    runs.push_back(std::move(ids));
  }
  return runs;
}

std::vector<std::vector<int>> sampled_documents(LoadedModel& model, const Start& start,
                                                std::int64_t tokens, std::uint64_t seed) {
  const std::vector<int> before = tokens_before_texts(model.tokenizer());
  const int before_it = static_cast<int>(start.ids.size()),
            longest = longest_run(model.network().architecture(), kSampledDocument + before_it);
  const auto length = static_cast<int>(std::min<std::int64_t>(longest - before_it, tokens));
  const auto count = static_cast<std::size_t>((tokens + length - 1) / length);
  std::vector<std::vector<int>> runs;
  for (const std::vector<int>& text : sampled_texts(
           model, start.ids, std::vector<int>(count, length), kDocumentTop, seed ^ kDocumentStream))
    runs.push_back(joined(before, text));
  return runs;
}

std::uint64_t digest_of(const std::vector<std::vector<int>>& runs) {
  std::uint64_t digest = 0;
  for (const std::vector<int>& run : runs) {
    for (const int id : run) digest = mixed_bits(digest ^ static_cast<std::uint64_t>(id));
    digest = mixed_bits(~digest);
  }
  return digest;
}

std::int64_t widest(const Network& network, std::span<const MatrixAt> places) {
  std::int64_t width = 0;
  for (const MatrixAt& place : places)
    width = std::max(width, network.editable(place.layer, place.matrix).matrix.columns);
  return width;
}

void add_covariances(LoadedModel& model, const EditConfig& config, std::span<const MatrixAt> places,
                     const std::vector<std::string>& texts, const Start& start,
                     EditBackground& background) {
  using Source = KeyText::Source;
  const KeyText& text = config.covariance;
  if (text.text.source == Source::kNone) return;
  const std::int64_t tokens =
      text.tokens > 0 ? text.tokens : kTokensPerNumber * widest(model.network(), places);
  std::vector<std::vector<int>> runs;
  std::string where = "the dataset";
  switch (text.text.source) {
    case Source::kSampled:
      runs = sampled_documents(model, start, tokens, config.seed);
      break;
    case Source::kFile:
      where = text.text.file;
      runs = documents(model, drawn_documents(documents_in(where), config.seed), tokens, where);
      break;
    default:
      runs = documents(model, drawn_documents(texts, config.seed), tokens, where);
      break;
  }
  for (const std::vector<int>& run : runs)
    background.covariance_tokens += static_cast<std::int64_t>(run.size());
  if (background.covariance_tokens < std::max<std::int64_t>(text.tokens, 1))
    throw InputError(where,
                     fmt::format("has {} tokens, and edit: {{covariance: {{tokens: {}}}}} asks for "
                                 "more",
                                 background.covariance_tokens, tokens),
                     "name a longer text, or ask for fewer");
  background.covariance_digest = digest_of(runs);
  const std::vector<at::Tensor> found =
      key_covariances(model.network(), places, runs, text.shrinkage);
  std::map<const void*, at::Tensor> kept;  // matrices of a layer share one
  for (std::size_t i = 0; i < places.size(); ++i) {
    at::Tensor& one = kept[found[i].data_ptr()];
    if (!one.defined()) one = found[i].cpu();
    background.covariances[places[i]] = one;
  }
}

}  // namespace

std::vector<int> tokens_before_texts(const Tokenizer& tokenizer) {
  const Encoding text = tokenizer.encode("a");
  std::vector<int> ids;
  for (std::size_t i = 0; i < text.ids.size() && text.offsets[i].second == 0; ++i)
    ids.push_back(text.ids[i]);
  return ids;
}

std::vector<std::vector<int>> sampled_texts(LoadedModel& model, const std::vector<int>& start,
                                            const std::vector<int>& lengths, int top,
                                            std::uint64_t seed) {
  std::vector<std::vector<int>> texts(lengths.size());
  const auto most = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  for (int step = 0; step < most; ++step) {
    std::vector<std::size_t> going_on;
    std::vector<ReplayRequest> requests;
    for (std::size_t i = 0; i < lengths.size(); ++i)
      if (step < lengths[i]) {
        going_on.push_back(i);
        requests.push_back({joined(start, texts[i])});
      }
    const std::vector<ReplayResult> results =
        model.replay(requests, top + static_cast<int>(start.size()));
    for (std::size_t r = 0; r < results.size(); ++r) {
      if (!is_finite(results[r]))
        throw RunError("texts cannot be sampled: " + std::string(kNotFinite));
      const std::size_t i = going_on[r];
      const std::uint64_t draw =
          mixed_bits(mixed_bits(mixed_bits(seed) ^ i) ^ static_cast<std::uint64_t>(step));
      texts[i].push_back(token_at(results[r].top, start, uniform(draw)));
    }
  }
  return texts;
}

EditBackground edit_background(LoadedModel& model, const EditConfig& config,
                               std::span<const MatrixAt> places,
                               const std::vector<std::string>& texts) {
  EditBackground background;
  const Start start = start_of(model.tokenizer(), texts, config.seed);
  const std::vector<int> before = tokens_before_texts(model.tokenizer());
  std::vector<int> lengths;
  for (int i = 0; i < config.contexts.count; ++i)
    lengths.push_back(
        config.contexts.tokens[static_cast<std::size_t>(i) % config.contexts.tokens.size()]);
  background.contexts.emplace_back();
  for (const std::vector<int>& text :
       sampled_texts(model, start.ids, lengths, kContextTop, config.seed ^ kContextStream))
    background.contexts.push_back(joined(before, text));
  const bool sampled = config.covariance.text.source == KeyText::Source::kSampled;
  if (!lengths.empty() || sampled) background.context_start = start.words;
  add_covariances(model, config, places, texts, start, background);
  return background;
}

}  // namespace factflow
