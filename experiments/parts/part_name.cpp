#include "experiments/parts/part_name.hpp"

#include <charconv>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::string_view kHead = "head ";

// A whole number of at least `least` and no leading zeros or signs, from the beginning of `text`,
// which loses it.
std::optional<int> take_number(std::string_view& text, int least) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < least || text.front() == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// "random 2/12 seed 3" is part 2 of "each random of 12 seed 3".
std::optional<PartName> slice_in(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view word = text.substr(0, space);
  if (word != "random" && word != "group") return std::nullopt;
  text.remove_prefix(space + 1);
  const auto place = take_number(text, 1);
  if (!place || !text.starts_with("/")) return std::nullopt;
  text.remove_prefix(1);
  const Division division = parse_division(fmt::format("each {} of {}", word, text));
  if (*place > division.count) return std::nullopt;
  return PartName{division, *place - 1};
}

std::optional<PartName> head_in(std::string_view text) {
  if (!text.starts_with(kHead)) return std::nullopt;
  text.remove_prefix(kHead.size());
  const auto place = text.empty() ? std::nullopt : take_number(text, 0);
  if (!place || !text.empty()) return std::nullopt;
  return PartName{{}, *place};
}

}  // namespace

std::string to_string(const PartName& part) {
  if (part.division.kind == Division::Kind::kHead) return fmt::format("{}{}", kHead, part.place);
  const std::string slice =
      fmt::format("{} {}/{}", part.division.kind == Division::Kind::kRandom ? "random" : "group",
                  part.place + 1, part.division.count);
  return part.division.kind == Division::Kind::kRandom
             ? fmt::format("{} seed {}", slice, part.division.seed)
             : slice;
}

PartName parse_part_name(const std::string& given) {
  std::optional<PartName> part = head_in(given);
  try {
    if (!part) part = slice_in(given);
  } catch (const InputError&) {  // of its division: said below
  }
  if (part) return *part;
  throw InputError("",
                   fmt::format("expected random k/K, random k/K seed S, group k/K or head N, found "
                               "{}",
                               in_quotes(given)),
                   "write for instance 'random 1/3 seed 1'; slices of the decay ranking are "
                   "channels: quantile k/K");
}

Form<PartName> part_name_form() {
  return text_form(
      "part of the channels or heads",
      [](const std::string& given) { return parse_part_name(given); },
      [](const PartName& part) { return to_string(part); });
}

std::optional<EdgePart> part_called(const PartName& name, const Divisible& among) {
  if (name.division.kind == Division::Kind::kHead && among.what != PartOf::kHeads)
    return std::nullopt;
  const std::vector<EdgePart> parts = parts_of(name.division, among);
  if (static_cast<std::size_t>(name.place) >= parts.size())
    throw std::invalid_argument(fmt::format("it has {}", counted(parts.size(), "head")));
  return parts[static_cast<std::size_t>(name.place)];
}

}  // namespace factflow
