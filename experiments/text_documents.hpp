// Text files with a document a line, of which some kinds take tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fields/fields.hpp"

namespace factflow {

class LoadedModel;

// The lines that are not blank. Throws InputError for a file that cannot be read.
std::vector<std::string> documents_in(const std::string& file);
// In an order that the seed draws; the same texts in the same order give the same one.
std::vector<std::string> drawn_documents(std::vector<std::string> texts, std::uint64_t seed);

// At most `longest` tokens of a text, and no more than the model takes. Throws InputError(where)
// for tokens that the model does not have.
std::vector<int> document_tokens(const LoadedModel& model, const std::string& text, int longest,
                                 const std::string& where);

// What is written of a file stands beside the configuration, unless it is absolute.
std::string file_beside(const Place& place, const std::string& given);

}  // namespace factflow
