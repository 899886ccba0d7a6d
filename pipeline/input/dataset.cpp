#include "pipeline/input/dataset.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "fields/plain_text.hpp"
#include "pipeline/input/content_digest.hpp"
#include "pipeline/input/numpy_permutation.hpp"
#include "pipeline/input/prompt_filter.hpp"
#include "pipeline/input/record_forms.hpp"
#include "pipeline/input/records.hpp"

namespace factflow {
namespace {

constexpr size_t kMostBadRecords = 100000;
constexpr size_t kMostFiles = 10000;  // of a directory
constexpr std::int64_t kCounterfactRows = 21919;
constexpr std::uint32_t kReferenceSeed = 42;

// Collects prompts and bad records; keeps ids unique.
class Collector {
 public:
  explicit Collector(std::string path) : path_(std::move(path)) {}

  void add(PromptRecord record, const std::string& where) {
    const auto [first, is_new] = first_with_id_.emplace(record.prompt.id, where);
    if (!is_new)
      return add_bad(
          where, fmt::format("repeats the id {}, first in {}", record.prompt.id, first->second));
    records_.push_back(std::move(record));
  }

  void add_bad(const std::string& where, const std::string& reason) {
    bad_.push_back({where, reason});
    if (bad_.size() >= kMostBadRecords)
      throw InputError(
          path_, fmt::format("has {} and more, the first one: {}: {}",
                             counted(bad_.size(), "bad record"), bad_[0].where, bad_[0].reason));
  }

  std::vector<PromptRecord>& records() { return records_; }
  std::vector<BadRecord>& bad() { return bad_; }

 private:
  std::string path_;
  std::vector<PromptRecord> records_;
  std::vector<BadRecord> bad_;
  std::unordered_map<std::int64_t, std::string> first_with_id_;
};

std::string unrecognised(const Record& record) {
  std::vector<std::string> keys;
  for (const auto& item : record.fields.items()) keys.push_back(item.key());
  const std::string found = fmt::format("{} with the fields {}", record.where, excerpt(join(keys)));
  if (keys.size() == 1 && keys[0].find_first_of(";\t|") != std::string::npos)
    return found + ", which is one name: separate the columns with commas";
  return fmt::format("{}, {}", found, missing_fields(record.fields));
}

// The format of the first record that has one.
std::string detect_format(Container container, std::string_view text, const std::string& path) {
  std::string format;
  std::string found;
  read_records(container, text, path, [&](Record& record) {
    if (!record.problem.empty()) {
      if (found.empty()) found = fmt::format("{} {}", record.where, record.problem);
      return true;
    }
    format = recognise_record(record.fields);
    if (format.empty()) found = unrecognised(record);
    return format.empty();
  });
  if (format.empty())
    throw InputError(path,
                     fmt::format("no record of a known format; found {}",
                                 found.empty() ? "no record at all" : found),
                     "known formats: " + join(dataset_format_names()) + "; see docs/datasets.md");
  return format;
}

void read_relation_object(const nlohmann::json& fields, const std::string& path, std::int64_t& rows,
                          Collector& out) {
  const std::vector<RelationSample> samples = read_relation(fields, rows);
  rows += static_cast<std::int64_t>(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::string where = fmt::format("{}: record {}", path, i + 1);
    if (samples[i].problem.empty())
      out.add(samples[i].record, where);
    else
      out.add_bad(where, samples[i].problem);
  }
}

// Returns the number of rows, broken ones included.
std::int64_t read_file_records(Container container, const std::string& format,
                               std::string_view text, const std::string& path, Collector& out) {
  std::int64_t rows = 0;
  read_records(container, text, path, [&](Record& record) {
    if (format != "relations") ++rows;
    if (!record.problem.empty()) {
      out.add_bad(record.where, record.problem);
      return true;
    }
    try {
      if (format == "relations")
        read_relation_object(record.fields, path, rows, out);
      else
        out.add(read_prompt_record(format, record.fields, record.row), record.where);
    } catch (const InputError& error) {
      if (!error.where().empty()) throw;  // not about this record
      out.add_bad(record.where, error.problem());
    }
    return true;
  });
  return rows;
}

std::vector<std::filesystem::path> relation_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".json" || !entry.is_regular_file()) continue;
    files.push_back(entry.path());
    if (files.size() > kMostFiles)
      throw InputError(directory.string(), fmt::format("holds more than {} files", kMostFiles));
  }
  if (files.empty())
    throw InputError(directory.string(), "holds no .json file", "name the file of prompts");
  std::sort(files.begin(), files.end());
  return files;
}

struct Source {
  std::string format, container, digest;
  std::int64_t rows = 0;
};

Source read_directory(const DatasetConfig& config, Collector& out) {
  Source source{"relations", "directory", "", 0};
  if (config.format != "auto" && config.format != "relations")
    throw InputError(config.path,
                     fmt::format("is a directory, expected a file of format {}", config.format));
  ContentDigest digest;
  for (const std::filesystem::path& file : relation_files(config.path)) {
    const std::string bytes = read_file(file, size_t{16} << 20);
    const std::string_view text = text_in(bytes, file.string());
    digest.add(file.filename().string());
    digest.add(bytes);
    try {
      read_relation_object(parse_json(text, text.size()), file.string(), source.rows, out);
    } catch (const InputError& error) {
      if (!error.where().empty()) throw;
      out.add_bad(file.string(), error.problem());
    }
  }
  source.digest = digest.hex();
  return source;
}

Source read_one_file(const DatasetConfig& config, Collector& out) {
  const std::string bytes = read_file(config.path);
  const std::string_view text = text_in(bytes, config.path);
  ContentDigest digest;
  digest.add(bytes);
  const Container container = detect_container(text);
  Source source{config.format, to_string(container), digest.hex(), 0};
  if (source.format == "auto") source.format = detect_format(container, text, config.path);
  source.rows = read_file_records(container, source.format, text, config.path, out);
  return source;
}

// Reference number = position of the record's row in the shuffled data set, unless the record tells
// it.
std::vector<std::int64_t> reference_ids(const std::vector<PromptRecord>& records, std::int64_t rows,
                                        const std::string& path) {
  std::vector<std::int64_t> position_of_row;
  std::vector<std::int64_t> ids;
  for (const PromptRecord& record : records) {
    if (record.numbering.kind == Numbering::Kind::kReference) {
      ids.push_back(record.numbering.value);
      continue;
    }
    if (rows != kCounterfactRows || record.numbering.value >= kCounterfactRows)
      throw InputError(
          path,
          fmt::format(
              "reference_ids number the {} records of COUNTERFACT, found {} records, one with "
              "row or case_id {}",
              kCounterfactRows, rows, record.numbering.value),
          "use the whole file, with ids or limit, or leave reference_ids out");
    if (position_of_row.empty()) {
      const std::vector<std::int64_t> order = numpy_permutation(kReferenceSeed, kCounterfactRows);
      position_of_row.resize(order.size());
      for (size_t i = 0; i < order.size(); ++i)
        position_of_row[static_cast<size_t>(order[i])] = static_cast<std::int64_t>(i);
    }
    ids.push_back(position_of_row[static_cast<size_t>(record.numbering.value)]);
  }
  return ids;
}

// What lies on a network must be brought here first.
void refuse_remote(const std::string& path) {
  constexpr std::string_view kHub = "hf:";
  if (path.starts_with(kHub))
    throw InputError(path, "names a dataset of the Hugging Face hub, expected a file",
                     fmt::format("download it, and name the file of prompts in it: hf download "
                                 "--repo-type dataset {}",
                                 path.substr(kHub.size())));
  if (path.find("://") != std::string::npos)
    throw InputError(path, "is an address of the network, expected a file",
                     "download it, and name the file");
}

}  // namespace

Dataset read_dataset(const DatasetConfig& config, const WantedIds& wanted) {
  const std::vector<std::string>& known = dataset_format_names();
  if (config.format != "auto" &&
      std::find(known.begin(), known.end(), config.format) == known.end())
    throw InputError(config.path, unknown_word("dataset format", excerpt(config.format), known));
  refuse_remote(config.path);
  std::error_code error;
  Collector collected(config.path);
  const Source source = std::filesystem::is_directory(config.path, error)
                            ? read_directory(config, collected)
                            : read_one_file(config, collected);
  std::vector<PromptRecord>& records = collected.records();
  if (records.empty()) {
    const std::vector<BadRecord>& bad = collected.bad();
    throw InputError(
        config.path,
        bad.empty() ? "holds no prompt"
                    : fmt::format("holds no usable prompt; the first of {}: {}: {}",
                                  counted(bad.size(), "bad record"), bad[0].where, bad[0].reason));
  }
  std::vector<Prompt> prompts;
  for (PromptRecord& record : records) prompts.push_back(std::move(record.prompt));
  std::vector<std::int64_t> numbers;
  if (config.reference_ids) numbers = reference_ids(records, source.rows, config.path);

  Dataset out;
  out.format = source.format + ", " + source.container;
  out.digest = source.digest;
  out.bad = std::move(collected.bad());
  size_t next = 0;
  for (const size_t i : filter_prompts(prompts, config, wanted)) {
    for (; next < i; ++next) out.left_out.push_back(prompts[next].id);
    next = i + 1;
    out.prompts.push_back(std::move(prompts[i]));
    if (config.reference_ids) out.reference_ids.push_back(numbers[i]);
  }
  for (; next < prompts.size(); ++next) out.left_out.push_back(prompts[next].id);
  return out;
}

std::vector<std::int64_t> read_ids(const std::filesystem::path& file) {
  const std::string text = read_text_file(file, size_t{16} << 20);
  std::vector<std::int64_t> ids;
  std::unordered_set<std::int64_t> seen;
  const auto add = [&](const std::string& where, std::optional<std::int64_t> id,
                       const std::string& found) {
    if (!id) throw InputError(where, "expected a whole number from 0, found " + in_quotes(found));
    if (!seen.insert(*id).second)
      throw InputError(where, fmt::format("repeats the id {}", *id), "remove it");
    ids.push_back(*id);
  };
  if (trim(text).starts_with('[')) {
    nlohmann::json list;
    try {
      list = parse_json(text, text.size());
    } catch (const InputError& error) {
      throw InputError(file.string(), error.problem());
    }
    for (const nlohmann::json& item : list)
      add(fmt::format("{}: record {}", file.string(), ids.size() + 1), parse_id(item.dump()),
          item.dump());
  } else {
    std::string_view rest = text;
    for (int line = 1; !rest.empty(); ++line) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view content = trim(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (content.empty() || content.starts_with('#')) continue;
      add(fmt::format("{}:{}", file.string(), line), parse_id(content), std::string(content));
    }
  }
  if (ids.empty()) throw InputError(file.string(), "holds no id");
  return ids;
}

}  // namespace factflow
