#include "experiments/evaluate/evaluation_arrays.hpp"

#include <numeric>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kMaxTop = 1000;

}  // namespace

ArrayGroup arrays_of(const EvaluationResult& evaluation) {
  std::vector<std::int32_t> places(static_cast<std::size_t>(evaluation.top));
  std::iota(places.begin(), places.end(), 1);
  ArrayGroup group{"evaluation"};
  group.axes = {{"prompt", evaluation.prompt, {"1", "id of the prompt in the dataset"}},
                {"top", places, {"1", "place among the likeliest next tokens"}}};
  const auto column = [&](const char* name, const auto& values, const ArrayLabel& label) {
    group.arrays.push_back({name, {"prompt"}, values, label});
  };
  column("probability", evaluation.probability,
         {"1", "probability of the answer's token in the clean run; NaN where the prompt failed"});
  column(
      "rank", evaluation.rank,
      {"1", "1 + number of other tokens that are at least as likely; 0 where the prompt failed"});
  if (!evaluation.tied.empty())
    column("tied", evaluation.tied,
           {"1", "number of other tokens that are exactly as likely as the answer"});
  column("answer_token", evaluation.answer_token, {"1", "vocabulary id of the answer's token"});
  column("answer_text", evaluation.answer_text, {"1", "text of that token"});
  column("changes", evaluation.changes,
         {"1", "1 = the prompt's own tokens are others when the answer follows"});
  column("token_count", evaluation.token_count,
         {"token", "length of the prompt with special tokens"});
  column("subject_begin", evaluation.subject_begin,
         {"token", "position of the subject's first token"});
  column("subject_end", evaluation.subject_end,
         {"token", "position after the subject's last token"});
  const auto table = [&](const char* name, const auto& values, const ArrayLabel& label) {
    group.arrays.push_back({name, {"prompt", "top"}, values, label});
  };
  table("top_token", evaluation.top_token, {"1", "vocabulary id of a likeliest next token"});
  table("top_probability", evaluation.top_probability, {"1", "its probability"});
  table("top_text", evaluation.top_text, {"1", "its text"});
  return group;
}

bool has_evaluation(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has("evaluation");
}

EvaluationResult read_evaluation(const ResultsReader& reader, const std::string& model) {
  const hdf5::Group group = reader.arrays_of(model).open_group("evaluation");
  EvaluationResult result;
  result.prompt = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, result.prompt);
  const hdf5::Shape shape{result.prompt.size()};
  read_answers(group, shape, result);
  result.answer_token = group.read<std::int32_t>("answer_token", shape);
  result.answer_text = group.read<std::string>("answer_text", shape);
  result.changes = group.read<std::int32_t>("changes", shape);
  result.token_count = group.read<std::int32_t>("token_count", shape);
  result.subject_begin = group.read<std::int32_t>("subject_begin", shape);
  result.subject_end = group.read<std::int32_t>("subject_end", shape);
  result.top = static_cast<std::int64_t>(group.read_axis<std::int32_t>("top").size());
  if (result.top > kMaxTop)
    inconsistent(group, "top", fmt::format("expected at most {} elements", kMaxTop));
  const hdf5::Shape table{result.prompt.size(), static_cast<std::size_t>(result.top)};
  result.top_token = group.read<std::int32_t>("top_token", table);
  result.top_probability = group.read<float>("top_probability", table);
  result.top_text = group.read<std::string>("top_text", table);
  return result;
}

}  // namespace factflow
