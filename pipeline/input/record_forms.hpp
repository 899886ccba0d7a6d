// What the records of a prompt file mean: one entry per format, all turned into Prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/prompt.hpp"

namespace factflow {

// The number under which the reference code knows a record, as far as the record itself tells.
struct Numbering {
  enum class Kind {
    kReference,
    kRow
  };  // kReference: `value` is that number; kRow: it is a row of COUNTERFACT
  Kind kind = Kind::kRow;
  std::int64_t value = 0;
};

struct PromptRecord {
  Prompt prompt = {};
  Numbering numbering = {};
};

// The format whose keys an object holds, or "" if none fits.
std::string recognise_record(const nlohmann::json& fields);

// What an object that recognise_record() does not know lacks for the format that it comes nearest
// to: "which lacks subject for the format minimal".
std::string missing_fields(const nlohmann::json& fields);

// `row`: 0-based row of the file, the id of a record without one. Throws InputError (empty where)
// with the reason why the record is unusable. Not for "relations".
PromptRecord read_prompt_record(const std::string& format, const nlohmann::json& fields,
                                std::int64_t row);

// A file of the Relations dataset (Hernandez et al. 2024): template 0 with each subject; ids count
// on from `first_row`. Throws InputError (empty where) if the head is unusable.
struct RelationSample {
  PromptRecord record;
  std::string problem;  // not empty: the sample is unusable
};
std::vector<RelationSample> read_relation(const nlohmann::json& fields, std::int64_t first_row);

}  // namespace factflow
