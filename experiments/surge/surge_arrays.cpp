#include "experiments/surge/surge_arrays.hpp"

#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kGroup = "surge";
constexpr const char* kPrefix = "layers_";
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string group_of(std::int64_t window) {
  return fmt::format("{}/{}{}", kGroup, kPrefix, window);
}

std::vector<std::int32_t> counting(std::int64_t from, std::int64_t to) {
  std::vector<std::int32_t> numbers;
  for (std::int64_t i = from; i < to; ++i) numbers.push_back(static_cast<std::int32_t>(i));
  return numbers;
}

// How long each array of a prompt is.
struct Sizes {
  std::size_t depths, components, losers, window;
};
Sizes sizes_of(const SurgeResult& r) {
  return {static_cast<std::size_t>(r.layers) + 1, r.components.size(),
          static_cast<std::size_t>(r.losers), static_cast<std::size_t>(r.window)};
}

// Every array but the first two: `visit(name, axes, size, member, units, description)`.
template <class Visit>
void each_array(const Sizes& s, Visit visit) {
  using F = SurgeFinding;
  visit("log_probability", "run", kRuns, &F::log_probability, "nat",
        "natural logarithm of the answer's probability");
  visit("rank", "run", kRuns, &F::rank, "1",
        "1 + number of other tokens that are at least as likely as the answer");
  visit("part_value", "part", kParts, &F::parts, "nat",
        "what the change of ln p of the answer consists of (Shapley values): their sum is the "
        "change");
  visit("scale", "run", kRuns, &F::scale, "1", "what the final norm multiplies the stream by");
  visit("competitor_log_probability", "run", kRuns, &F::competitor_log, "nat",
        "natural logarithm of the competitor's probability");
  visit("loser_token", "loser", s.losers, &F::loser, "1",
        "id of a token whose probability falls, the largest loss first; -1 = none");
  visit("loser_text", "loser", s.losers, &F::loser_text, "1", "its text");
  visit("loser_clean", "loser", s.losers, &F::loser_clean, "1", "its probability, clean");
  visit("loser_knocked", "loser", s.losers, &F::loser_knocked, "1",
        "its probability with the edge blocked");
  visit("lens_answer", "run depth", kRuns * s.depths, &F::lens_answer, "nat",
        "ln p of the answer by the final norm and head at the last token's stream that enters the "
        "layer");
  visit("lens_rank", "run depth", kRuns * s.depths, &F::lens_rank, "1", "the answer's rank there");
  visit("lens_competitor", "run depth", kRuns * s.depths, &F::lens_competitor, "nat",
        "ln p of the competitor there");
  visit("answer_written", "run component", kRuns * s.components, &F::answer_written, "1",
        "what the component adds to the answer's logit less the mean logit, at the clean run's "
        "scale");
  visit("competitor_written", "run component", kRuns * s.components, &F::competitor_written, "1",
        "the same of the competitor's logit");
  visit("weight", "layer source", s.window * kSources, &F::weight, "1",
        "how much of what the last token's mixer reads in the clean run comes from there: mean "
        "attention weight over heads, or the share of the norms of what the state brings; NaN = "
        "the layer's mixer does not say");
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words = {"prompt"};
  std::size_t begin = 0;
  for (std::size_t end = text.find(' '); end != std::string::npos; end = text.find(' ', begin)) {
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  words.push_back(text.substr(begin));
  return words;
}

template <class T>
T nothing() {
  if constexpr (std::is_same_v<T, double>) return kNaN;
  if constexpr (std::is_same_v<T, std::int32_t>) return -1;
  return T();
}

}  // namespace

const std::vector<std::string>& surge_part_names() {
  static const std::vector<std::string> names = {"own logit", "competitor", "other tokens",
                                                 "scale"};
  return names;
}

const std::vector<std::string>& surge_source_names() {
  static const std::vector<std::string> names = {"first", "last", "others"};
  return names;
}

ArrayGroup arrays_of(const SurgeResult& r) {
  ArrayGroup group{group_of(r.window)};
  group.attributes = {{"window", r.window}};
  group.axes = {
      {"prompt", r.prompts, {"1", "id of the prompt in the dataset"}},
      {"run",
       std::vector<std::string>{"clean", "knocked"},
       {"1", "without and with last -> last blocked"}},
      {"part", surge_part_names(), {"1", "what changed between the two runs"}},
      {"depth",
       counting(0, r.layers + 1),
       {"layer", "layer that the stream enters; the model's number of layers: behind the last"}},
      {"component", r.components, {"1", "what writes to the last token's stream: layer and site"}},
      {"loser", counting(0, r.losers), {"1", "place among the tokens that lose most"}},
      {"layer", counting(r.layers - r.window, r.layers), {"layer", "layer that loses the edge"}},
      {"source", surge_source_names(), {"1", "token that the last one reads"}},
  };
  group.arrays.push_back(
      {"status",
       {"prompt"},
       r.status,
       {"1", "1 = computed, 0 = not computed yet, -2 = failed, -3 = not asked for"}});
  std::vector<std::int32_t> competitors, halves;
  std::vector<std::string> texts;
  std::vector<double> lost;
  for (std::size_t i = 0; i < r.prompts.size(); ++i) {
    const bool there = r.status[i] == 1;
    competitors.push_back(there ? r.found[i].competitor : -1);
    texts.push_back(there ? r.found[i].competitor_text : "");
    lost.push_back(there ? r.found[i].lost : kNaN);
    halves.push_back(there ? r.found[i].half_lost : -1);
  }
  const auto of_prompt = [&](const char* name, const auto& values, const char* about) {
    group.arrays.push_back({name, {"prompt"}, values, {"1", about}});
  };
  of_prompt("competitor", competitors, "id of the likeliest other token of the clean run");
  of_prompt("competitor_text", texts, "its text");
  of_prompt("lost", lost, "sum of what all other tokens lose of their probability, gains aside");
  of_prompt("half_lost", halves, "how few of them lose half of that");
  each_array(sizes_of(r), [&](const char* name, const char* axes, std::size_t size, auto member,
                              const char* units, const char* about) {
    using Values = std::decay_t<decltype(SurgeFinding().*member)>;
    Values values;
    for (std::size_t i = 0; i < r.prompts.size(); ++i) {
      Values of = r.status[i] == 1 ? r.found[i].*member : Values();
      of.resize(size, nothing<typename Values::value_type>());
      values.insert(values.end(), of.begin(), of.end());
    }
    group.arrays.push_back({name, words_of(axes), std::move(values), {units, about}});
  });
  return group;
}

bool has_surge(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kGroup);
}

std::vector<std::int64_t> surge_windows(const ResultsReader& reader, const std::string& model) {
  return numbered(reader.arrays_of(model).open_group(kGroup), kPrefix);
}

SurgeResult read_surge(const ResultsReader& reader, const std::string& model, std::int64_t window) {
  const Group group =
      reader.arrays_of(model).open_group(kGroup).open_group(fmt::format("{}{}", kPrefix, window));
  SurgeResult r;
  r.window = group.integer_attribute("window");
  r.layers = reader.model(model).layers;
  if (r.window != window || window < 1 || window > r.layers)
    inconsistent(group, "", "attribute 'window' is not the group's number of layers");
  r.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, r.prompts);
  if (group.read_axis<std::int32_t>("depth") != counting(0, r.layers + 1))
    inconsistent(group, "depth", "expected every layer, and one more");
  r.components = group.read_axis<std::string>("component");
  r.losers = static_cast<std::int64_t>(group.read_axis<std::int32_t>("loser").size());
  if (group.read_axis<std::string>("part") != surge_part_names())
    inconsistent(group, "part", "expected the parts of this version");
  const hdf5::Shape prompts{r.prompts.size()};
  r.status = group.read<std::int32_t>("status", prompts);
  r.found.resize(r.prompts.size());
  const auto competitors = group.read<std::int32_t>("competitor", prompts);
  const auto texts = group.read<std::string>("competitor_text", prompts);
  const auto lost = group.read<double>("lost", prompts);
  const auto halves = group.read<std::int32_t>("half_lost", prompts);
  for (std::size_t i = 0; i < r.prompts.size(); ++i) {
    r.found[i].competitor = competitors[i];
    r.found[i].competitor_text = texts[i];
    r.found[i].lost = lost[i];
    r.found[i].half_lost = halves[i];
  }
  const Sizes sizes = sizes_of(r);
  each_array(sizes, [&](const char* name, const std::string& axes, std::size_t size, auto member,
                        const char*, const char*) {
    using Value = typename std::decay_t<decltype(SurgeFinding().*member)>::value_type;
    hdf5::Shape shape{r.prompts.size()};
    const bool by_run = axes.starts_with("run ");
    if (by_run) shape.push_back(kRuns);
    if (axes.starts_with("layer ")) shape.push_back(sizes.window);
    shape.push_back(by_run ? size / kRuns : axes.starts_with("layer ") ? kSources : size);
    const std::vector<Value> values = group.read<Value>(name, shape);
    for (std::size_t i = 0; i < r.prompts.size(); ++i) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i * size);
      (r.found[i].*member).assign(begin, begin + static_cast<std::ptrdiff_t>(size));
    }
  });
  return r;
}

}  // namespace factflow
