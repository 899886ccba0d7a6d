#include "experiments/text_documents.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/paths.hpp"
#include "base/random.hpp"
#include "base/text_file.hpp"
#include "experiments/loaded_model.hpp"

namespace factflow {
namespace {

constexpr std::uint64_t kDocumentStream = 0x646F6375;  // of the seed

}  // namespace

std::vector<std::string> documents_in(const std::string& file) {
  std::vector<std::string> lines;
  const std::string text = read_text_file(file, std::numeric_limits<std::size_t>::max());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

std::vector<std::string> drawn_documents(std::vector<std::string> texts, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < texts.size(); ++i)
    order.emplace_back(mixed_bits(mixed_bits(seed ^ kDocumentStream) ^ i), i);
  std::sort(order.begin(), order.end());
  std::vector<std::string> all;
  for (const auto& [number, i] : order) all.push_back(std::move(texts[i]));
  return all;
}

std::vector<int> document_tokens(const LoadedModel& model, const std::string& text, int longest,
                                 const std::string& where) {
  const Architecture& architecture = model.network().architecture();
  std::vector<int> ids = model.tokenizer().encode(text).ids;
  auto most = static_cast<std::size_t>(longest);
  if (architecture.max_positions > 0)
    most = std::min(most, static_cast<std::size_t>(architecture.max_positions));
  ids.resize(std::min(ids.size(), most));
  require_tokens(ids, architecture, where);
  return ids;
}

std::string file_beside(const Place& place, const std::string& given) {
  const std::filesystem::path folder = place.file.parent_path();
  return path_from(folder.empty() ? "." : folder, given).string();
}

}  // namespace factflow
