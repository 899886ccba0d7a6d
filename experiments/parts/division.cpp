#include "experiments/parts/division.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "experiments/parts/ranking.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/network.hpp"

namespace factflow {
namespace {

constexpr const char* kEachHead = "each head";
constexpr const char* kSeed = " seed ";
constexpr std::uint64_t kUsualSeed = 1;

const std::vector<std::pair<std::string, Division::Kind>>& kinds_in_slices() {
  static const std::vector<std::pair<std::string, Division::Kind>> kinds = {
      {"quantile", Division::Kind::kQuantile},
      {"random", Division::Kind::kRandom},
      {"group", Division::Kind::kGroup}};
  return kinds;
}

std::string word_of(Division::Kind kind) {
  if (kind == Division::Kind::kHappened) kind = Division::Kind::kQuantile;
  for (const auto& [word, one] : kinds_in_slices())
    if (one == kind) return word;
  return "head";
}

template <class T>
std::optional<T> whole_number_in(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "8" or "8 seed 3", behind "each random of "; "8 by exp(A dt)" behind "each quantile of ".
std::optional<Division> parse_slices(Division::Kind kind, std::string_view text) {
  Division division{kind, 0, kind == Division::Kind::kRandom ? kUsualSeed : 0};
  if (const std::size_t at = text.find(kSeed); at != std::string_view::npos) {
    const auto seed =
        whole_number_in<std::uint32_t>(text.substr(at + std::string_view(kSeed).size()));
    if (kind != Division::Kind::kRandom || !seed) return std::nullopt;
    division.seed = *seed;
    text = text.substr(0, at);
  }
  if (kind == Division::Kind::kQuantile && text.ends_with(kByHappened)) {
    division.kind = Division::Kind::kHappened;
    text.remove_suffix(kByHappened.size());
  }
  const auto count = whole_number_in<int>(text);
  if (!count || *count < 2) return std::nullopt;
  division.count = *count;
  return division;
}

// The places floor(n (k-1) / K) to floor(n k / K) - 1 of an order: disjoint, and all of it.
std::vector<int> slice_of(const std::vector<int>& order, int slice, int slices) {
  const auto edge = [&](int k) {
    return static_cast<std::ptrdiff_t>(std::int64_t{k} * static_cast<std::int64_t>(order.size()) /
                                       slices);
  };
  std::vector<int> indices(order.begin() + edge(slice - 1), order.begin() + edge(slice));
  std::sort(indices.begin(), indices.end());
  return indices;
}

std::vector<int> in_order(int count) {
  std::vector<int> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<EdgePart> single_heads(int heads) {
  std::vector<EdgePart> parts;
  for (int head = 0; head < heads; ++head)
    parts.push_back({fmt::format("head {}", head), {}, {head}});
  return parts;
}

Block block_of(const std::vector<int>& targets, const std::vector<int>& sources,
               Selection selection) {
  Block block;
  block.targets = targets;
  block.sources = sources;
  block.selection = std::move(selection);
  return block;
}

}  // namespace

std::string to_string(const Division& division) {
  if (division.kind == Division::Kind::kHead) return kEachHead;
  const std::string text = fmt::format("each {} of {}", word_of(division.kind), division.count);
  if (division.kind == Division::Kind::kRandom)
    return fmt::format("{}{}{}", text, kSeed, division.seed);
  return division.kind == Division::Kind::kHappened ? fmt::format("{}{}", text, kByHappened) : text;
}

Division parse_division(const std::string& given) {
  if (given == kEachHead) return {};
  for (const auto& [word, kind] : kinds_in_slices())
    if (const std::string begin = "each " + word + " of "; given.starts_with(begin))
      if (const auto division = parse_slices(kind, std::string_view(given).substr(begin.size())))
        return *division;
  throw InputError("",
                   fmt::format("expected each head, each quantile of K, each quantile of K by "
                               "exp(A dt), each random of K, each random of K seed S or each group "
                               "of K with K of at least 2, found {}",
                               in_quotes(given)),
                   "write for instance 'each quantile of 12'");
}

Form<Division> division_form() {
  return text_form(
      "division", [](const std::string& given) { return parse_division(given); },
      [](const Division& division) { return to_string(division); });
}

Divisible divisible_of(const Architecture& architecture) {
  const std::string mixing = architecture.mixing();
  if (mixing == "mamba") return {PartOf::kChannels, architecture.channels(), true};
  if (mixing == "mamba2") return {PartOf::kHeads, architecture.channels(), true};
  if (mixing != "attention")
    throw std::invalid_argument(fmt::format(
        "mixes tokens by {}; only attention, mamba or mamba2 alone is divided into parts", mixing));
  Divisible among;
  for (const LayerShape& layer : architecture.blocks)
    for (const BlockShape& block : layer)
      if (const auto* shape = dynamic_cast<const AttentionShape*>(block.mixer.get()))
        among.count = among.count == 0 ? shape->heads : std::min(among.count, shape->heads);
  return among;
}

std::vector<EdgePart> parts_of(const Division& division, const Divisible& among) {
  const char* what = among.what == PartOf::kHeads ? "heads" : "channels";
  if (division.kind == Division::Kind::kHead) {
    if (among.what != PartOf::kHeads) throw std::invalid_argument("it has channels, not heads");
    return single_heads(among.count);
  }
  if (division.by_decay() && !among.by_decay)
    throw std::invalid_argument("its heads have no decay");
  if (division.count > among.count)
    throw std::invalid_argument(
        fmt::format("{} parts of {} {}", division.count, among.count, what));
  const std::vector<int> order = division.kind == Division::Kind::kRandom
                                     ? random_order(among.count, division.seed)
                                     : in_order(among.count);
  std::vector<EdgePart> parts;
  for (int k = 1; k <= division.count; ++k) {
    EdgePart& part = parts.emplace_back();
    part.name = fmt::format("{} {}/{}", word_of(division.kind), k, division.count);
    if (division.kind == Division::Kind::kRandom)
      part.name += kSeed + std::to_string(division.seed);
    part.happened = division.kind == Division::Kind::kHappened;
    if (part.happened) part.name += kByHappened;
    if (division.by_decay())
      part.set = {ChannelSet::Kind::kQuantile, k, division.count};
    else
      part.indices = slice_of(order, k, division.count);
  }
  return parts;
}

Selection list_of_indices(std::vector<int> indices, PartOf what) {
  if (what == PartOf::kHeads) return Heads{std::move(indices)};
  return Channels{std::move(indices)};
}

std::vector<Intervention> losing(const std::vector<const EdgePart*>& parts, PartOf what,
                                 const std::vector<int>& targets, const std::vector<int>& sources) {
  std::vector<Intervention> together;
  std::vector<int> listed;
  for (const EdgePart* part : parts) {
    if (part->happened) throw std::logic_error("a part by the decay that happens has no one list");
    if (part->indices.empty()) together.push_back(block_of(targets, sources, part->set));
    listed.insert(listed.end(), part->indices.begin(), part->indices.end());
  }
  std::sort(listed.begin(), listed.end());
  if (!listed.empty())
    together.push_back(block_of(targets, sources, list_of_indices(std::move(listed), what)));
  return together;
}

std::vector<Intervention> losing_in_layers(const std::vector<const EdgePart*>& parts, PartOf what,
                                           const std::vector<int>& targets,
                                           const std::vector<int>& sources, const Window& window,
                                           const std::vector<std::vector<float>>& decay) {
  std::vector<Intervention> together;
  for (int layer = window.begin; layer < window.end; ++layer) {
    const std::vector<float>& of_layer = decay.at(static_cast<std::size_t>(layer));
    std::vector<int> lost;
    for (const EdgePart* part : parts) {
      const std::vector<int> slice = slice_by_decay(part->set, of_layer);
      lost.insert(lost.end(), slice.begin(), slice.end());
    }
    std::sort(lost.begin(), lost.end());
    Block block = block_of(targets, sources, list_of_indices(std::move(lost), what));
    block.layers = {layer};
    together.emplace_back(std::move(block));
  }
  return together;
}

std::vector<int> random_order(int count, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, int>> drawn;
  for (int i = 0; i < count; ++i)
    drawn.emplace_back(mixed_bits(mixed_bits(seed) + static_cast<std::uint64_t>(i)), i);
  std::sort(drawn.begin(), drawn.end());
  std::vector<int> order;
  for (const auto& [bits, index] : drawn) order.push_back(index);
  return order;
}

}  // namespace factflow
