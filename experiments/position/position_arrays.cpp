#include "experiments/position/position_arrays.hpp"

#include <charconv>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr const char* kBar = " | ";

}  // namespace

const CellNames& position_names() {
  static const CellNames names = {
      "position",
      "item",
      "edge that is blocked, where the neutral text stands and how many tokens it has",
      "edges",
      "(target, source) pairs that are blocked; 0 = no such edge, or a prompt longer than the "
      "model's positions",
      "with the edge blocked, in the prompt with the neutral text",
      "no such edge, or too long",
      "section"};
  return names;
}

std::string to_string(const PositionItem& item) {
  return fmt::format("{}{}{} {}", item.edge, kBar, item.place, item.length);
}

std::optional<PositionItem> parse_position_item(const std::string& name) {
  const std::size_t bar = name.rfind(kBar), space = name.rfind(' ');
  if (bar == std::string::npos || space < bar + 3) return std::nullopt;
  PositionItem item{name.substr(0, bar), name.substr(bar + 3, space - bar - 3), 0};
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + space + 1, end, item.length);
  if (error != std::errc() || stop != end || item.length < 0) return std::nullopt;
  return item;
}

ArrayGroup arrays_of(const CellAxes& axes, const PositionPlaces& places) {
  ArrayGroup group = arrays_of(position_names(), axes);
  const auto add = [&](const char* name, const auto& values, const char* units,
                       const char* description) {
    group.arrays.push_back({name, {"item", "prompt"}, values, {units, description}});
  };
  add("clean_log_probability", places.clean_log_probability, "nat",
      "natural logarithm of the answer's probability in the prompt with the neutral text, nothing "
      "blocked; NaN = not computed, failed or too long");
  add("clean_rank", places.clean_rank, "1",
      "1 + number of other tokens that are at least as likely there; 0 = not computed");
  add("subject_at", places.subject_at, "token", "the subject's first token; -1 = not computed");
  add("distance", places.distance, "token",
      "tokens from the subject's last one to the prompt's last; -1 = not computed");
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < places.longest; ++i) tokens.push_back(static_cast<std::int32_t>(i));
  group.axes.push_back({"token", std::move(tokens), {"token", "of the longest neutral text"}});
  group.arrays.push_back(
      {"neutral",
       {"prompt", "token"},
       places.neutral,
       {"1", "ids of the longest neutral text; one of n tokens is its last n; -1 = not computed"}});
  return group;
}

bool has_positions(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(position_names().group);
}

PositionPlaces read_position_places(const ResultsReader& reader, const std::string& model,
                                    const CellAxes& axes) {
  const hdf5::Group group = reader.arrays_of(model).open_group(position_names().group);
  const hdf5::Shape shape{axes.items.size(), axes.prompts.size()};
  PositionPlaces places;
  places.clean_log_probability = group.read<double>("clean_log_probability", shape);
  places.clean_rank = group.read<std::int32_t>("clean_rank", shape);
  places.subject_at = group.read<std::int32_t>("subject_at", shape);
  places.distance = group.read<std::int32_t>("distance", shape);
  places.longest = static_cast<std::int64_t>(group.read_axis<std::int32_t>("token").size());
  places.neutral = group.read<std::int32_t>(
      "neutral", {axes.prompts.size(), static_cast<std::size_t>(places.longest)});
  return places;
}

}  // namespace factflow
