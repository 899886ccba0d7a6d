#include "pipeline/input/record_forms.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {
namespace {

using nlohmann::json;

// A format whose records are flat objects. An empty key: the format has no such value.
struct FlatForm {
  std::string_view name;
  std::array<std::string_view, 2> id_keys;  // the first that is there counts; else the row number
  std::string_view answer_key;
  std::string_view new_answer_key, paraphrase_key, neighbour_key;  // need not be there
  std::string_view template_key;  // a phrase with {} where the subject goes; need not be there
  std::string_view relation_key;
  // One of them must be there for the format to be recognised.
  std::array<std::string_view, 3> marks;
};

// In the order in which they are tried.
constexpr FlatForm kFlatForms[] = {
    {"known-1000",
     {"known_id", ""},
     "attribute",
     "",
     "",
     "",
     "template",
     "relation_id",
     {"attribute", "", ""}},
    {"counterfact-tracing",
     {"original_idx", "case_id"},
     "target_true",
     "target_false",
     "",
     "",
     "relation",
     "relation_id",
     {"relation", "relation_id", "relation_prefix"}},
    {"counterfact-flat",
     {"case_id", ""},
     "target_true",
     "target_new",
     "paraphrase",
     "neighborhood",
     "",
     "",
     {"target_true", "", ""}},
    {"minimal",
     {"id", ""},
     "answer",
     "new_answer",
     "paraphrases",
     "neighbours",
     "",
     "relation",
     {"answer", "", ""}},
};

// What a record of each format must have, the one for own prompts first.
std::vector<std::pair<std::string, std::vector<std::string>>> required_fields() {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  for (const FlatForm& form : kFlatForms)
    all.insert(all.begin(),
               {std::string(form.name), {"prompt", "subject", std::string(form.answer_key)}});
  all.push_back({"relations", {"name", "prompt_templates", "samples"}});
  return all;
}

bool has(const json& fields, std::string_view key) {
  return !key.empty() && fields.contains(key);
}

[[noreturn]] void unusable(const std::string& reason) {
  throw InputError("", reason);
}

std::string checked_text(const json& value, std::string_view key) {
  if (!value.is_string())
    unusable(fmt::format("expected text for {}, found {}", key, value.type_name()));
  const auto& text = value.get_ref<const std::string&>();
  if (!is_clean_utf8(text)) unusable(fmt::format("{} holds a NUL character", key));
  return text;
}

std::string required_text(const json& fields, std::string_view key) {
  if (!has(fields, key)) unusable(fmt::format("the field {} is missing", key));
  std::string text = checked_text(fields[std::string(key)], key);
  if (trim(text).empty()) unusable(fmt::format("the field {} is empty", key));
  return text;
}

// Tables write a cell without a value as null, as NaN or as empty text.
bool is_nothing(const json& value) {
  return value.is_null() || (value.is_number_float() && std::isnan(value.get<double>())) ||
         (value.is_string() && value.get_ref<const std::string&>().empty());
}

// Empty if the field is not there or holds nothing.
std::string optional_text(const json& fields, std::string_view key) {
  if (!has(fields, key) || is_nothing(fields[std::string(key)])) return "";
  const json& value = fields[std::string(key)];
  return value.is_number_integer() ? value.dump() : checked_text(value, key);
}

// A text or a list of some; none if the field is not there or holds nothing.
std::vector<std::string> optional_texts(const json& fields, std::string_view key) {
  if (!has(fields, key) || is_nothing(fields[std::string(key)])) return {};
  const json& value = fields[std::string(key)];
  if (!value.is_array()) return {checked_text(value, key)};
  std::vector<std::string> texts;
  for (const json& text : value) texts.push_back(checked_text(text, key));
  return texts;
}

// Numbers of JSON, and digits, which is all that CSV has. Nothing if the field is not there or
// holds nothing.
std::optional<std::int64_t> optional_id(const json& fields, std::string_view key) {
  if (!has(fields, key)) return std::nullopt;
  const json& value = fields[std::string(key)];
  if (is_nothing(value)) return std::nullopt;
  std::optional<std::int64_t> id;
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      id = static_cast<std::int64_t>(number);
  } else if (value.is_number_float()) {
    id = parse_id(value.dump());
  } else if (value.is_string()) {
    id = parse_id(value.get_ref<const std::string&>());
  }
  if (!id)
    unusable(
        fmt::format("expected a whole number from 0 for {}, found {}", key, excerpt(value.dump())));
  return id;
}

[[noreturn]] void refuse_subject(const std::string& text, const std::string& subject) {
  const std::string difference = difference_in_writing(text, subject);
  unusable(fmt::format(
      "the subject {} does not occur in the prompt{}", in_quotes(subject),
      difference.empty() ? "" : ", which holds it " + difference + ": write both alike"));
}

// Where the subject stands: at the template's {} if the prompt was made from it, else at its first
// occurrence.
std::int64_t find_subject(const std::string& text, const std::string& subject,
                          const std::string& phrase) {
  const size_t gap = phrase.find("{}");
  if (gap != std::string::npos && text.starts_with(std::string_view(phrase).substr(0, gap))) {
    const size_t begin = text.find_first_not_of(' ', gap);
    if (begin != std::string::npos && text.compare(begin, subject.size(), subject) == 0)
      return static_cast<std::int64_t>(begin);
  }
  const size_t begin = text.find(subject);
  if (begin == std::string::npos) refuse_subject(text, subject);
  return static_cast<std::int64_t>(begin);
}

// Every {} of the phrase becomes the subject; the first one is its place.
Prompt fill_template(const std::string& phrase, const std::string& subject) {
  Prompt prompt;
  prompt.subject = subject;
  size_t begin = 0;
  size_t gap = phrase.find("{}");
  if (gap == std::string::npos)
    unusable(fmt::format("the template {} has no {{}}", in_quotes(phrase)));
  prompt.subject_begin = static_cast<std::int64_t>(gap);
  for (; gap != std::string::npos; gap = phrase.find("{}", begin)) {
    prompt.text.append(phrase, begin, gap - begin).append(subject);
    begin = gap + 2;
  }
  prompt.text.append(phrase, begin);
  return prompt;
}

std::string required_trimmed(const json& fields, std::string_view key) {
  return std::string(trim(required_text(fields, key)));
}

std::string required_answer(const json& fields, std::string_view key) {
  return " " + required_trimmed(fields, key);
}

std::string optional_answer(const json& fields, std::string_view key) {
  const std::string answer(trim(optional_text(fields, key)));
  return answer.empty() ? "" : " " + answer;
}

PromptRecord read_flat(const FlatForm& form, const json& fields, std::int64_t row) {
  PromptRecord out{.numbering = {Numbering::Kind::kRow, row}};
  Prompt& prompt = out.prompt;
  prompt.id = row;
  for (const std::string_view key : form.id_keys) {
    const std::optional<std::int64_t> id = optional_id(fields, key);
    if (!id) continue;
    prompt.id = *id;
    if (key == "original_idx") out.numbering = {Numbering::Kind::kReference, *id};
    if (key == "case_id") out.numbering = {Numbering::Kind::kRow, *id};
    break;
  }
  prompt.text = required_text(fields, "prompt");
  prompt.subject = required_trimmed(fields, "subject");
  prompt.subject_begin =
      find_subject(prompt.text, prompt.subject, optional_text(fields, form.template_key));
  prompt.answer = required_answer(fields, form.answer_key);
  prompt.relation = optional_text(fields, form.relation_key);
  prompt.new_answer = optional_answer(fields, form.new_answer_key);
  prompt.paraphrases = optional_texts(fields, form.paraphrase_key);
  prompt.neighbours = optional_texts(fields, form.neighbour_key);
  return out;
}

// The original COUNTERFACT: the prompt is a template, the answer an object.
PromptRecord read_original(const json& fields, std::int64_t row) {
  const auto rewrite = fields.find("requested_rewrite");
  if (rewrite == fields.end() || !rewrite->is_object())
    unusable("the object requested_rewrite is missing");
  const auto target = rewrite->find("target_true");
  if (target == rewrite->end() || !target->is_object())
    unusable("the object target_true is missing");
  PromptRecord out;
  out.prompt =
      fill_template(required_text(*rewrite, "prompt"), required_trimmed(*rewrite, "subject"));
  out.prompt.answer = required_answer(*target, "str");
  out.prompt.relation = optional_text(*rewrite, "relation_id");
  if (const auto other = rewrite->find("target_new"); other != rewrite->end()) {
    if (!other->is_object() && !is_nothing(*other))
      unusable(fmt::format("expected an object for target_new, found {}", other->type_name()));
    out.prompt.new_answer = optional_answer(*other, "str");
  }
  out.prompt.paraphrases = optional_texts(fields, "paraphrase_prompts");
  out.prompt.neighbours = optional_texts(fields, "neighborhood_prompts");
  out.prompt.id = optional_id(fields, "case_id").value_or(row);
  out.numbering = {Numbering::Kind::kRow, out.prompt.id};
  return out;
}

}  // namespace

const std::vector<std::string>& dataset_format_names() {
  static const std::vector<std::string> names = {"counterfact",      "counterfact-tracing",
                                                 "counterfact-flat", "known-1000",
                                                 "relations",        "minimal"};
  return names;
}

std::string recognise_record(const json& fields) {
  if (fields.contains("requested_rewrite")) return "counterfact";
  if (fields.contains("samples") && fields.contains("prompt_templates")) return "relations";
  if (!has(fields, "prompt") || !has(fields, "subject")) return "";
  for (const FlatForm& form : kFlatForms) {
    const bool is_marked = std::any_of(form.marks.begin(), form.marks.end(),
                                       [&](std::string_view key) { return has(fields, key); });
    if (is_marked && has(fields, form.answer_key)) return std::string(form.name);
  }
  return "";
}

std::string missing_fields(const json& fields) {
  std::string nearest_format;
  std::vector<std::string> fewest;
  for (const auto& [format, required] : required_fields()) {
    std::vector<std::string> missing;
    for (const std::string& key : required)
      if (!has(fields, key)) missing.push_back(key);
    if (!nearest_format.empty() && missing.size() >= fewest.size()) continue;
    nearest_format = format;
    fewest = missing;
  }
  std::vector<std::string> keys;
  for (const auto& item : fields.items()) keys.push_back(item.key());
  for (std::string& key : fewest)
    if (const std::string near = nearest(key, keys); !near.empty())
      key += fmt::format(" (is it {}?)", in_quotes(near));
  return fmt::format("which lacks {} for the format {}", join(fewest, " and "), nearest_format);
}

PromptRecord read_prompt_record(const std::string& format, const json& fields, std::int64_t row) {
  if (format == "counterfact") return read_original(fields, row);
  for (const FlatForm& form : kFlatForms)
    if (form.name == format) return read_flat(form, fields, row);
  throw std::logic_error("read_prompt_record: no flat format: " + format);
}

std::vector<RelationSample> read_relation(const json& fields, std::int64_t first_row) {
  const std::string relation = required_text(fields, "name");
  const auto templates = fields.find("prompt_templates");
  if (templates == fields.end() || !templates->is_array() || templates->empty())
    unusable("expected a list of prompt_templates");
  const std::string phrase = checked_text(templates->front(), "prompt_templates");
  const auto samples = fields.find("samples");
  if (samples == fields.end() || !samples->is_array()) unusable("expected a list of samples");

  std::vector<RelationSample> out;
  for (const json& sample : *samples) {
    const std::int64_t row = first_row + static_cast<std::int64_t>(out.size());
    RelationSample& made = out.emplace_back();
    try {
      if (!sample.is_object()) unusable("expected a JSON object");
      made.record.prompt = fill_template(phrase, required_trimmed(sample, "subject"));
      made.record.prompt.answer = required_answer(sample, "object");
      made.record.prompt.relation = relation;
      made.record.prompt.id = row;
      made.record.numbering = {Numbering::Kind::kRow, row};
    } catch (const InputError& error) {
      made.problem = error.problem();
    }
  }
  return out;
}

}  // namespace factflow
