#include "analysis/cell_prompts.hpp"

#include <map>
#include <string>
#include <utility>

namespace factflow {

std::vector<CellPrompt> cell_prompts(const RunData& run, const ModelData& model,
                                     const std::vector<std::int64_t>& ids,
                                     const CleanLimits& limits) {
  std::map<std::int64_t, std::size_t> rows;
  for (std::size_t row = 0; row < run.prompts.id.size(); ++row)
    rows.emplace(run.prompts.id[row], row);
  std::map<std::int64_t, double> clean;
  for (std::size_t i = 0; i < model.evaluation.prompt.size(); ++i)
    clean.emplace(model.evaluation.prompt[i], static_cast<double>(model.evaluation.probability[i]));
  std::map<std::pair<std::string, std::string>, std::size_t> numbers;
  std::vector<CellPrompt> prompts;
  for (const std::int64_t id : ids) {
    const std::size_t row = rows.at(id);
    const std::pair key(run.prompts.subject[row], run.prompts.relation[row]);
    const auto p = clean.find(id);
    const bool used = !limits.any() || (p != clean.end() && limits.admit(p->second));
    prompts.push_back({row, numbers.emplace(key, numbers.size()).first->second, used});
  }
  return prompts;
}

}  // namespace factflow
