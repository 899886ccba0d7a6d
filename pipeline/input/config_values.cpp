#include "pipeline/input/config_values.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_safe_name(std::string_view name) {
  return !name.empty() && name.size() <= 100 && is_letter_or_digit(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

[[noreturn]] void expected(const std::string& what, const std::string& found,
                           const std::string& remedy = "") {
  throw InputError("", fmt::format("expected {}, found {}", what, in_quotes(found)), remedy);
}

// hf:ORG/NAME[@REVISION]; a revision may be a branch name with slashes.
bool is_hub_name(std::string_view name) {
  const size_t at = name.find('@');
  const std::string_view repository = name.substr(0, at);
  const size_t slash = repository.find('/');
  if (slash == std::string_view::npos) return false;
  if (!is_safe_name(repository.substr(0, slash)) || !is_safe_name(repository.substr(slash + 1)))
    return false;
  if (at == std::string_view::npos) return true;
  std::string_view revision = name.substr(at + 1);
  for (size_t end; (end = revision.find('/')) != std::string_view::npos;
       revision.remove_prefix(end + 1))
    if (!is_safe_name(revision.substr(0, end))) return false;
  return is_safe_name(revision);
}

std::string one_of(const std::string& kind, const std::string& given,
                   const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), given) != known.end()) return given;
  throw InputError("", unknown_word(kind, excerpt(given), known));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

// What other programs call the devices, or "".
std::string device_meant(const std::string& given) {
  const std::string word = lower(given);
  if (word == given && (word == "cpu" || word == "cuda" || word == "auto")) return "";
  if (word == "cpu" || word == "auto") return word;
  if (word == "any" || word == "default") return "auto";
  for (const std::string_view prefix : {"cuda", "gpu", "nvidia"}) {
    if (!word.starts_with(prefix)) continue;
    const std::string_view rest = std::string_view(word).substr(prefix.size());
    if (rest.empty()) return "cuda";
    const bool separated = rest[0] == ':' || rest[0] == '-' || rest[0] == '_';
    if (const auto index = parse_whole_number(rest.substr(separated ? 1 : 0)))
      return fmt::format("cuda:{}", *index);
  }
  return "";
}

// What other programs call the precisions, or "".
std::string precision_meant(const std::string& given) {
  static const std::map<std::string, std::string> words = {
      {"float64", "fp64"}, {"double", "fp64"}, {"f64", "fp64"},     {"float32", "fp32"},
      {"float", "fp32"},   {"single", "fp32"}, {"f32", "fp32"},     {"bfloat16", "bf16"},
      {"half", "bf16"},    {"fp16", "bf16"},   {"float16", "bf16"}, {"tensorfloat32", "tf32"}};
  const auto found = words.find(lower(given));
  return found == words.end() ? "" : found->second;
}

std::string same(const std::string& value) {
  return value;
}

constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};

std::int64_t parse_byte_size(const std::string& given) {
  const std::string type = "a size such as 8 GiB (units: B, KiB, MiB, GiB, TiB)";
  const size_t digits = std::min(given.find_first_not_of("0123456789"), given.size());
  const auto number = parse_whole_number(std::string_view(given).substr(0, digits));
  const std::string_view name = trim(std::string_view(given).substr(digits));
  const auto unit = std::find(kUnits.begin(), kUnits.end(), name.empty() ? "B" : name);
  if (!number || *number < 1 || unit == kUnits.end()) expected(type, given);
  const int shift = 10 * static_cast<int>(unit - kUnits.begin());
  if (*number > (std::numeric_limits<std::int64_t>::max() >> shift))
    expected("a size below 8388608 TiB", given);
  return *number << shift;
}

std::string show_byte_size(std::int64_t bytes) {
  size_t unit = 0;
  while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

}  // namespace

Form<std::string> safe_name() {
  return text_form(
      "a name",
      [](const std::string& given) {
        if (!is_safe_name(given))
          expected("a name of letters, digits, '.', '_' and '-' that starts with a letter or digit",
                   given, "it becomes a folder and a group of the results");
        return given;
      },
      same);
}

Form<std::string> checkpoint_path() {
  return text_form(
      "a directory or hf:ORG/NAME[@REVISION]",
      [](const std::string& given) {
        if (given.starts_with("hf:") && !is_hub_name(std::string_view(given).substr(3)))
          expected("hf:ORG/NAME or hf:ORG/NAME@REVISION", given,
                   "write ./ before a directory whose name starts with hf:");
        return given;
      },
      same);
}

Form<std::string> dataset_format() {
  return text_form(
      "auto or a format",
      [](const std::string& given) {
        std::vector<std::string> known = dataset_format_names();
        known.insert(known.begin(), "auto");
        return one_of("dataset format", given, known);
      },
      same);
}

Form<HeadChoice> head_choice() {
  return text_form("configured | embedding | own", parse_head_choice,
                   [](HeadChoice choice) { return to_string(choice); });
}

Form<GatedNormChoice> gated_norm_choice() {
  return text_form("per-group | all-channels", parse_gated_norm_choice,
                   [](GatedNormChoice choice) { return to_string(choice); });
}

Form<AnswerRule> answer_rule() {
  return text_form("continuation | first-token", parse_answer_rule,
                   [](AnswerRule rule) { return to_string(rule); });
}

Form<std::string> device() {
  return text_form(
      "auto | cpu | cuda | cuda:N",
      [](const std::string& given) {
        if (given.starts_with("cuda:")) {
          const auto index = parse_whole_number(std::string_view(given).substr(5));
          if (!index || *index > 1023 || given != fmt::format("cuda:{}", *index))
            expected("cuda:N with N from 0 to 1023", given);
          return given;
        }
        if (const std::string meant = device_meant(given); !meant.empty())
          throw InputError(
              "", fmt::format("unknown device {}, did you mean '{}'?", in_quotes(given), meant));
        return one_of("device", given, {"auto", "cpu", "cuda", "cuda:N"});
      },
      same);
}

Form<std::string> precision() {
  return text_form(
      "fp64 | fp32 | tf32x3 | tf32 | bf16",
      [](const std::string& given) {
        if (const std::string meant = precision_meant(given); !meant.empty())
          throw InputError(
              "", fmt::format("unknown precision {}, did you mean '{}'?", in_quotes(given), meant));
        return one_of("precision", given, {"fp64", "fp32", "tf32x3", "tf32", "bf16"});
      },
      same);
}

Form<std::int64_t> byte_size() {
  return text_form("a size such as 8 GiB", parse_byte_size, show_byte_size);
}

}  // namespace factflow
