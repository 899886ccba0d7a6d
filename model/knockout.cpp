#include "model/knockout.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

const std::vector<std::string>& channel_set_names() {
  static const std::vector<std::string> names = {"all", "slow", "fast", "not-slow", "not-fast"};
  return names;
}

std::optional<size_t> index_of(const std::vector<std::string>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<size_t>(found - names.begin());
}

std::optional<int> parse_count(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ChannelSet parse_quantile(std::string_view name) {
  const std::string_view fraction = name.substr(std::string_view("quantile ").size());
  const size_t slash = fraction.find('/');
  const auto slice = parse_count(fraction.substr(0, slash));
  const auto slices =
      slash == std::string_view::npos ? std::nullopt : parse_count(fraction.substr(slash + 1));
  if (!slice || !slices || *slice < 1 || *slice > *slices) {
    throw InputError("channels",
                     fmt::format("expected quantile k/K with 1 <= k <= K, found '{}'", name),
                     "write for instance 'quantile 2/5'");
  }
  return {ChannelSet::Kind::kQuantile, *slice, *slices};
}

}  // namespace

const std::vector<std::string>& token_role_names() {
  static const std::vector<std::string> names = {
      "last", "first", "subject", "relation", "relation-minus-last", "context", "all", "each"};
  return names;
}

std::string to_string(TokenRole role) {
  return token_role_names()[static_cast<size_t>(role)];
}

TokenRole parse_token_role(std::string_view name) {
  const auto index = index_of(token_role_names(), name);
  if (!index) throw InputError("token role", unknown_word("role", name, token_role_names()), "");
  return static_cast<TokenRole>(*index);
}

std::string to_string(const ChannelSet& channels) {
  if (channels.kind == ChannelSet::Kind::kQuantile)
    return fmt::format("quantile {}/{}", channels.slice, channels.slices);
  return channel_set_names()[static_cast<size_t>(channels.kind)];
}

ChannelSet parse_channel_set(std::string_view name) {
  if (name.starts_with("quantile ")) return parse_quantile(name);
  const auto index = index_of(channel_set_names(), name);
  if (index) return {static_cast<ChannelSet::Kind>(*index)};
  std::vector<std::string> known = channel_set_names();
  known.emplace_back("quantile k/K");
  throw InputError("channels", unknown_word("channel set", name, known), "");
}

std::int64_t count_edges(const std::vector<int>& targets, const std::vector<int>& sources,
                         int reach) {
  if (reach > 0) return count_taps(targets, sources, reach);
  std::int64_t edges = 0;
  for (const int target : targets)
    edges += std::upper_bound(sources.begin(), sources.end(), target) - sources.begin();
  return edges;
}

std::int64_t count_taps(const std::vector<int>& targets, const std::vector<int>& sources,
                        int taps) {
  std::int64_t edges = 0;
  for (const int target : targets)
    edges += std::upper_bound(sources.begin(), sources.end(), target) -
             std::upper_bound(sources.begin(), sources.end(), target - taps);
  return edges;
}

}  // namespace factflow
