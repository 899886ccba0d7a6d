#include "pipeline/conformance/conformance.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {
namespace {

using Kind = ConformanceRow::Kind;
using Verdict = ConformanceRow::Verdict;

constexpr double kRankTolerance = 0.01, kLogTolerance = 0.02;
constexpr double kSmallest = 1e-36;  // what float32 holds with all its digits

const std::string kAcausal =
    "the reference gives these layers a mask without causality (every token reads later ones "
    "inside the "
    "window)";
const std::string kUniform =
    "a token is left with no key, which the reference's mask turns into equal attention to all "
    "tokens, later "
    "ones included";

bool contains(const std::vector<int>& positions, int position) {
  return std::find(positions.begin(), positions.end(), position) != positions.end();
}

bool is_cut(const Block& knockout, int target, int source) {
  return contains(knockout.targets, target) && contains(knockout.sources, source);
}

bool loses_every_key(const Block& knockout, int target) {
  for (int source = 0; source <= target; ++source)
    if (!is_cut(knockout, target, source)) return false;
  return true;
}

bool reads_later_tokens(const Block& knockout, int target, int tokens) {
  for (int source = target + 1; source < tokens; ++source)
    if (!is_cut(knockout, target, source)) return true;
  return false;
}

// Whether rows of attention that are wrong within the window come to the last token of the last
// layer.
template <class WrongRow>
bool reaches_the_answer(const Block& knockout, int tokens, int layers, WrongRow wrong_row) {
  std::vector<bool> wrong(static_cast<size_t>(tokens), false);
  for (int layer = 0; layer < layers; ++layer) {
    const bool cut = contains(knockout.layers, layer);
    const std::vector<bool> before = wrong;
    for (int t = 0; t < tokens; ++t) {
      if (cut && wrong_row(t)) wrong[static_cast<size_t>(t)] = true;
      for (int s = 0; s < t; ++s)
        if (before[static_cast<size_t>(s)] && !(cut && is_cut(knockout, t, s)))
          wrong[static_cast<size_t>(t)] = true;
    }
  }
  return wrong.back();
}

Window window_at(int start, int size) {
  return {start, start + size};
}

// Everything published of one prompt, asked in one request: the flows' cuts, then one cut per token
// of the heat map.
class PromptComparison {
 public:
  PromptComparison(const PublishedModel& published, LoadedModel& model, const Prompt& prompt,
                   double tolerance)
      : published_(published),
        architecture_(model.network().architecture()),
        id_(prompt.id),
        tolerance_(tolerance),
        tokens_(model.tokenize_prompt(prompt)) {
    request_ = {tokens_.ids, tokens_.answer, {}};
    for (const PublishedFlow& flow : published_.flows)
      if (flow.prompts.contains(id_))
        add_cut(positions_of(flow.to, tokens_), positions_of(flow.from, tokens_), flow.channels,
                flow.window);
    if (!published_.heatmaps.contains(id_)) return;
    for (int token = 0; token < token_count(); ++token)
      add_cut(positions_of(TokenRole::kLast, tokens_), {token}, {}, published_.heatmap_window);
  }

  const ReplayRequest& request() const { return request_; }

  void compare(const ReplayResult& result, std::vector<ConformanceRow>& rows) const {
    rows.push_back(clean_row(result.clean));
    size_t cut = 0;
    for (const PublishedFlow& flow : published_.flows) {
      const auto series = flow.prompts.find(id_);
      if (series == flow.prompts.end()) continue;
      const std::string channels = flow.channels.kind == ChannelSet::Kind::kAll
                                       ? ""
                                       : fmt::format("/{}", to_string(flow.channels));
      const std::string what =
          fmt::format("prompt {}, {}->{}{}, windows of {}", id_, to_string(flow.from),
                      to_string(flow.to), channels, flow.window);
      rows.push_back(knockout_row(Kind::kKnockout, what, cut, result, series->second.probability,
                                  &series->second.right));
      ++cut;
    }
    const auto map = published_.heatmaps.find(id_);
    if (map != published_.heatmaps.end()) compare_heatmap(map->second, cut, result, rows);
  }

 private:
  int token_count() const { return static_cast<int>(tokens_.ids.size()); }

  void add_cut(std::vector<int> targets, std::vector<int> sources, ChannelSet channels, int size) {
    std::vector<Window> windows;
    for (int start = 0; start + size <= published_.layers; ++start)
      windows.push_back(window_at(start, size));
    request_.series.push_back(
        {std::move(targets), std::move(sources), channels, std::move(windows)});
  }

  // Notes in the row that a number is off; the first one of a row is named.
  void differ(ConformanceRow& row, const std::string& difference) const {
    if (row.verdict != Verdict::kDiffers) row.difference = difference;
    row.verdict = Verdict::kDiffers;
  }

  void compare_probability(ConformanceRow& row, double published, double computed,
                           const std::string& where) const {
    ++row.compared;
    const double distance = std::abs(computed - published);
    row.distance = std::max(row.distance, distance);
    const double ratio = std::abs(std::log((computed + kSmallest) / (published + kSmallest)));
    if (!(distance <= tolerance_ * (1 + published) && ratio <= kLogTolerance))
      differ(row, fmt::format("{}published {:.6g}, computed {:.6g}", where, published, computed));
  }

  ConformanceRow clean_row(const Answer& clean) const {
    const PublishedClean& expected = published_.clean.at(id_);
    ConformanceRow row{Kind::kClean, Verdict::kAgrees, fmt::format("prompt {}", id_)};
    compare_probability(row, expected.probability, std::exp(clean.log_probability), "");
    ++row.compared;
    const std::int32_t rank = clean.published_rank();
    if (std::abs(rank - expected.rank) > kRankTolerance * expected.rank)
      differ(row, fmt::format("published rank {}, computed {}", expected.rank, rank));
    return row;
  }

  ConformanceRow knockout_row(Kind kind, const std::string& what, size_t cut,
                              const ReplayResult& result, const std::vector<double>& expected,
                              const std::vector<bool>* right) const {
    ConformanceRow row{kind, Verdict::kAgrees, what};
    const Series& asked = request_.series[cut];
    for (size_t start = 0; start < expected.size(); ++start) {
      const Block knockout = std::get<Block>(asked.run(start).front());
      const std::string reason =
          why_not_causal(architecture_.family, knockout, token_count(), architecture_.layers);
      if (!reason.empty()) {
        row.reason = reason;
        ++row.left_out;
        continue;
      }
      // Without an edge the reference runs the plain model, and stores that.
      const Answer& given = result.knockouts[cut][start];
      const Answer& answer = given.rank == 0 ? result.clean : given;
      compare_probability(row, expected[start], std::exp(answer.log_probability),
                          fmt::format("start {}: ", start));
      const std::int32_t rank = answer.published_rank();
      if (right != nullptr && (rank == 1) != (*right)[start])
        differ(row, fmt::format("start {}: published {}, computed rank {}", start,
                                (*right)[start] ? "rank 1" : "another rank", rank));
    }
    if (row.left_out > 0 && row.verdict == Verdict::kAgrees) row.verdict = Verdict::kExplained;
    return row;
  }

  void compare_heatmap(const std::vector<std::vector<double>>& map, size_t cut,
                       const ReplayResult& result, std::vector<ConformanceRow>& rows) const {
    ConformanceRow count{Kind::kHeatmap, Verdict::kAgrees,
                         fmt::format("prompt {}, number of tokens", id_)};
    ++count.compared;
    if (map.size() != tokens_.ids.size()) {
      differ(count, fmt::format("published {}, computed {}", map.size(), tokens_.ids.size()));
      rows.push_back(count);
      return;
    }
    rows.push_back(count);
    for (size_t token = 0; token < map.size(); ++token)
      rows.push_back(knockout_row(Kind::kHeatmap,
                                  fmt::format("prompt {}, heat map, token {}", id_, token),
                                  cut + token, result, map[token], nullptr));
  }

  const PublishedModel& published_;
  const Architecture& architecture_;
  std::int64_t id_;
  double tolerance_;
  TokenizedPrompt tokens_;
  ReplayRequest request_;
};

const Prompt& prompt_with(const Dataset& dataset, std::int64_t id) {
  for (const Prompt& prompt : dataset.prompts)
    if (prompt.id == id) return prompt;
  throw InputError("the dataset", fmt::format("has no usable prompt with the id {}", id),
                   "name COUNTERFACT, whose case ids the published numbers go by");
}

std::string line_of(const Conformance& conformance, Kind kind, const char* name) {
  std::map<Verdict, int> rows;
  std::int64_t compared = 0, left_out = 0;
  double distance = 0;
  for (const ConformanceRow& row : conformance.rows) {
    if (row.kind != kind) continue;
    ++rows[row.verdict];
    compared += row.compared;
    left_out += row.left_out;
    distance = std::max(distance, row.distance);
  }
  return fmt::format(
      "  {:<10} rows: {} agree, {} out of tolerance, {} explained; numbers: {} compared (largest "
      "distance "
      "{:.3g}), {} "
      "explained and not compared\n",
      name, rows[Verdict::kAgrees], rows[Verdict::kDiffers], rows[Verdict::kExplained], compared,
      distance, left_out);
}

}  // namespace

std::string why_not_causal(const std::string& family, const Block& knockout, int tokens,
                           int layers) {
  // No pair is cut: the plain model.
  if (knockout.targets.empty() || knockout.sources.empty()) return "";
  if (family == "gpt2") {
    const auto uniform = [&](int t) { return loses_every_key(knockout, t); };
    return reaches_the_answer(knockout, tokens, layers, uniform) ? kUniform : "";
  }
  if (family == "llama" || family == "qwen2") {
    const auto acausal = [&](int t) {
      return reads_later_tokens(knockout, t, tokens) || loses_every_key(knockout, t);
    };
    return reaches_the_answer(knockout, tokens, layers, acausal) ? kAcausal : "";
  }
  return "";
}

bool Conformance::conforms() const {
  return std::none_of(rows.begin(), rows.end(),
                      [](const ConformanceRow& row) { return row.verdict == Verdict::kDiffers; });
}

Conformance compare_with_published(const PublishedModel& published, LoadedModel& model,
                                   const Dataset& dataset, double tolerance) {
  const Architecture& architecture = model.network().architecture();
  if (architecture.layers != published.layers)
    throw InputError("factflow conform",
                     fmt::format("the checkpoint has {} layers, {} has {}", architecture.layers,
                                 published.name, published.layers),
                     fmt::format("name a copy of {}", published.hub));
  std::vector<PromptComparison> prompts;
  std::vector<ReplayRequest> requests;
  for (const auto& [id, clean] : published.clean) {
    prompts.emplace_back(published, model, prompt_with(dataset, id), tolerance);
    requests.push_back(prompts.back().request());
  }
  const std::vector<ReplayResult> results = model.replay(requests);
  Conformance conformance;
  for (size_t i = 0; i < prompts.size(); ++i) prompts[i].compare(results[i], conformance.rows);
  return conformance;
}

std::string describe(const Conformance& conformance) {
  std::string text = line_of(conformance, Kind::kClean, "clean runs") +
                     line_of(conformance, Kind::kKnockout, "knockouts") +
                     line_of(conformance, Kind::kHeatmap, "heat maps");
  std::map<std::string, std::vector<const ConformanceRow*>> explained;
  for (const ConformanceRow& row : conformance.rows)
    if (row.left_out > 0) explained[row.reason].push_back(&row);
  for (const auto& [reason, rows] : explained) {
    text += fmt::format("not compared: {}\n", reason);
    for (const ConformanceRow* row : rows)
      text += fmt::format("  {}: {} of {} windows\n", row->what, row->left_out,
                          row->left_out + row->compared);
  }
  for (const ConformanceRow& row : conformance.rows)
    if (row.verdict == Verdict::kDiffers)
      text += fmt::format("differs: {}: {}\n", row.what, row.difference);
  return text;
}

}  // namespace factflow
