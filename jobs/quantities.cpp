#include "jobs/quantities.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr std::size_t kMostDigits = 6;

const char* const kTimes = "a time limit such as 4h, 90min, 04:00:00 or 1-12:00:00";
const char* const kSizes = "a size such as 64G or 500M";

[[noreturn]] void refuse(const char* expected, const std::string& given,
                         const std::string& remedy) {
  throw InputError("", fmt::format("expected {}, found {}", expected, in_quotes(given)), remedy);
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= kMostDigits &&
         std::all_of(text.begin(), text.end(), is_digit);
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// H[:MM[:SS]] behind the days, H:MM:SS without them; nothing for other texts.
std::optional<std::int64_t> clock_seconds(const std::string& text, bool behind_days) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() > 3 || (parts.size() < 3 && !behind_days)) return std::nullopt;
  std::int64_t seconds = 0, unit = kHour;
  for (std::size_t i = 0; i < parts.size(); ++i, unit /= 60) {
    if (!is_number(parts[i])) return std::nullopt;
    const std::int64_t value = std::stoll(parts[i]);
    if ((i > 0 && value >= 60) || (i == 0 && behind_days && value >= 24)) return std::nullopt;
    seconds += value * unit;
  }
  return seconds;
}

// What sbatch calls days-hours:minutes:seconds.
std::optional<std::int64_t> slurm_seconds(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string::npos) return clock_seconds(text, false);
  const std::string days = text.substr(0, dash);
  const std::optional<std::int64_t> rest = clock_seconds(text.substr(dash + 1), true);
  if (!is_number(days) || !rest) return std::nullopt;
  return std::stoll(days) * kDay + *rest;
}

std::optional<std::int64_t> unit_of_time(const std::string& name) {
  static const std::map<std::string, std::int64_t> units = {
      {"d", kDay},       {"day", kDay},       {"days", kDay},       {"h", kHour},
      {"hour", kHour},   {"hours", kHour},    {"m", kMinute},       {"min", kMinute},
      {"mins", kMinute}, {"minute", kMinute}, {"minutes", kMinute}, {"s", 1},
      {"sec", 1},        {"second", 1},       {"seconds", 1}};
  const auto found = units.find(name);
  return found == units.end() ? std::nullopt : std::optional(found->second);
}

// "1d 12h": numbers, each with its unit, the larger unit first.
std::optional<std::int64_t> seconds_in_units(const std::string& text) {
  std::int64_t seconds = 0, last = kDay + 1;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    const std::size_t name = std::min(text.find_first_not_of(' ', end), text.size());
    const std::size_t next = std::min(text.find_first_of(" 0123456789", name), text.size());
    const std::optional<std::int64_t> unit = unit_of_time(text.substr(name, next - name));
    if (!is_number(text.substr(at, end - at)) || !unit || *unit >= last) return std::nullopt;
    seconds += std::stoll(text.substr(at, end - at)) * *unit;
    last = *unit;
    at = std::min(text.find_first_not_of(' ', next), text.size());
  }
  return text.empty() ? std::nullopt : std::optional(seconds);
}

// What sbatch reads from a text that people write for something else.
std::string time_remedy(const std::string& given) {
  if (is_number(given))
    return fmt::format("sbatch takes this for minutes: write {0}min, or {0}h for hours", given);
  const std::vector<std::string> parts = split(given, ':');
  if (parts.size() == 2 && is_number(parts[0]) && is_number(parts[1]))
    return fmt::format(
        "sbatch takes this for minutes and seconds: write 00:{0}, or {0}:00 for hours and minutes",
        given);
  return "";
}

}  // namespace

std::string parse_time_limit(const std::string& given) {
  const std::string text = lower(given);
  if (text == "unlimited" || text == "infinite") return "UNLIMITED";
  const std::optional<std::int64_t> as_slurm = slurm_seconds(text);
  const std::optional<std::int64_t> seconds = as_slurm ? as_slurm : seconds_in_units(text);
  if (!seconds) refuse(kTimes, given, time_remedy(text));
  if (*seconds == 0) refuse(kTimes, given, "sbatch takes 0 for no limit: write unlimited");
  return as_slurm ? given : show_time_limit(*seconds);
}

std::optional<std::int64_t> seconds_of_limit(const std::string& limit) {
  return slurm_seconds(limit);
}

std::string show_time_limit(std::int64_t seconds) {
  const std::int64_t minutes = (seconds + kMinute - 1) / kMinute;
  return fmt::format("{}-{:02}:{:02}:00", minutes / 1440, minutes / 60 % 24, minutes % 60);
}

std::string parse_memory(const std::string& given) {
  const std::string text = lower(given);
  if (text == "all") return "0";
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string number = text.substr(0, digits);
  if (digits == text.size() && is_number(number))
    refuse(kSizes, given,
           std::stoll(number) == 0
               ? "sbatch takes 0 for the whole memory of a node: write all"
               : fmt::format("sbatch takes this for {0} MiB: write {0}G, or {0}M", number));
  const std::vector<std::string> parts = split(number, '.');
  const std::size_t name = std::min(text.find_first_not_of(' ', digits), text.size());
  const std::string unit = text.substr(name);
  static constexpr std::array<std::string_view, 4> kUnits = {"k", "m", "g", "t"};
  const auto found = std::find(kUnits.begin(), kUnits.end(), unit.substr(0, 1));
  const bool known = found != kUnits.end() &&
                     (unit.size() == 1 || unit.substr(1) == "b" || unit.substr(1) == "ib");
  if (!known || parts.size() > 2 || !std::all_of(parts.begin(), parts.end(), is_number))
    refuse(kSizes, given, "");
  const char letter = static_cast<char>(std::toupper(unit[0]));
  const double amount = std::stod(number);
  if (amount == 0) refuse(kSizes, given, "");
  if (parts.size() == 1) return fmt::format("{}{}", std::stoll(number), letter);
  const double mebibytes = std::ldexp(amount, 10 * static_cast<int>(found - kUnits.begin()) - 10);
  return fmt::format("{}M", static_cast<std::int64_t>(std::ceil(mebibytes)));
}

}  // namespace factflow
