#include "experiments/edit/edit_arrays.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <sstream>
#include <type_traits>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

constexpr const char* kGroup = "edit";
constexpr const char* kFactors = "edit_factors_";
constexpr const char* kLayer = "layer";  // an axis where facts are written together
constexpr EditQuestion kQuestions[] = {EditQuestion::kRewrite, EditQuestion::kParaphrase,
                                       EditQuestion::kNeighbour};
// Attributes, in order; what is a number of another type is refused.
constexpr const char* kTexts[] = {"method", "covariance", "covariance_source", "context_start"};
constexpr const char* kWholeNumbers[] = {"covariance_tokens", "seed", "iterations",
                                         "stop_probability_after"};
constexpr const char* kNumbers[] = {"shrinkage", "lr",        "weight_decay",    "clamp_factor",
                                    "kl_factor", "stop_loss", "stop_probability"};

// "rewrite", "paraphrase 1", "paraphrase 2", "neighbour 1": a kind's n-th on an axis.
template <class Kind>
std::vector<std::string> numbered_names(const std::vector<Kind>& kinds) {
  std::vector<std::string> names;
  std::map<Kind, int> count;
  for (const Kind kind : kinds) {
    const int number = ++count[kind];
    names.push_back(to_string(kind) + fmt::format(" {}", number));
  }
  return names;
}

template <class Kind, std::size_t N>
std::vector<Kind> kinds_named(const Group& group, const std::string& axis, const Kind (&all)[N]) {
  std::vector<Kind> kinds;
  for (const std::string& name : group.read_axis<std::string>(axis)) {
    const auto* const found = std::find_if(std::begin(all), std::end(all), [&](Kind kind) {
      const std::string word = to_string(kind);
      return name == word || name.starts_with(word + " ");
    });
    if (found == std::end(all)) inconsistent(group, axis, fmt::format("'{}' is unknown", name));
    kinds.push_back(*found);
  }
  return kinds;
}

// Every array once: visit(name, axes, values, units, description).
template <class Results, class Visit>
void each_array(Results& r, Visit visit) {
  using Axes = std::vector<std::string>;
  const Axes edit{"edit"}, prompt{"prompt"}, asked{"prompt", "question"},
      answered{"edit", "prompt", "question"}, search{"edit", "prompt"}, other{"prompt", "other"},
      moved{"edit", "prompt", "other"};
  visit("matrix", edit, r.matrices, "1", "edited matrix");
  visit("layer", edit, r.layers, "layer", "layer of the edited matrix; of several the highest");
  visit("method", edit, r.methods, "1", "rome or memit");
  visit("layers", edit, r.all_layers, "1", "layers whose matrix is edited at once");
  visit("subject", prompt, r.subjects, "1", "what the fact is about");
  visit("true_answer", prompt, r.true_answers, "1", "the dataset's answer");
  visit("new_answer", prompt, r.new_answers, "1", "what the edit writes in its place");
  visit("essence", prompt, r.essences, "1",
        "prompt of the subject whose next token shall stay; empty = failed");
  visit("group", prompt, r.groups, "1",
        "id of the first of the facts that memit wrote together; -1 = alone, or failed");
  visit("outcome", search, r.outcomes, "1",
        "1 = edited, 0 = not asked for or not computed, -1 = the prompt or its unit failed, -2 = "
        "the edit is no finite number");
  visit("subject_last", prompt, r.subject_last, "token", "the subject's last token; -1 = failed");
  visit("tokens", prompt, r.tokens, "1", "vocabulary ids of the prompt's tokens");
  visit("new_tokens", prompt, r.new_tokens, "1", "vocabulary ids of the new answer's tokens");
  visit("true_tokens", prompt, r.true_tokens, "1", "vocabulary ids of the answer's tokens");
  visit("question_text", asked, r.question_texts, "1",
        "what is asked after an edit; empty = no such question");
  const auto judgement = [&](auto& j, const std::string& suffix, const Axes& axes,
                             const char* when) {
    const auto nll = [&](const char* name, auto& values, const char* whose) {
      visit(name + suffix, axes, values, "nat",
            fmt::format("mean over the tokens of the {} of -log p {} the edit; NaN = no such "
                        "question, not computed or failed",
                        whose, when));
    };
    const auto greedy = [&](const char* name, auto& values, const char* whose) {
      visit(name + suffix, axes, values, "1",
            fmt::format("1 = every token of the {} is the likeliest one {} the edit; -1 = as NaN",
                        whose, when));
    };
    nll("new_nll", j.new_nll, "new answer");
    nll("true_nll", j.true_nll, "dataset's answer");
    greedy("new_greedy", j.new_greedy, "new answer");
    greedy("true_greedy", j.true_greedy, "dataset's answer");
  };
  judgement(r.before, "_before", asked, "before");
  judgement(r.after, "", answered, "after");
  visit("steps", search, r.steps, "1", "steps of Adam; -1 = not computed or failed");
  visit("loss", search, r.loss, "nat", "loss at the end of the search for the value");
  visit("nll", search, r.nll, "nat", "its mean over contexts of the new answer's NLL");
  visit("kl", search, r.kl, "nat", "its divergence after the essence prompt, factor included");
  visit("mean_prob", search, r.mean_prob, "1", "mean over contexts of exp(-NLL) there");
  visit("delta_norm", search, r.delta_norm, "1", "norm of what the search adds to the value");
  visit("value_norm", search, r.value_norm, "1", "norm of the value before");
  visit("clamped", search, r.clamped, "1", "1 = the norm added is the largest allowed");
  visit("key_product", search, r.key_product, "1", "u . k0; NaN of memit");
  visit("update_norm", search, r.update_norm, "1",
        "Frobenius norm of the change of the matrix, or matrices");
  visit("other_prompt", other, r.other_prompts, "1",
        "id of a prompt that the edit is not about; -1 = there is none");
  visit("other_log_before", other, r.other_log_before, "nat",
        "log p of that prompt's answer before the edit");
  visit("other_log_change", moved, r.other_log_change, "nat",
        "log p of that prompt's answer after the edit, less before");
  visit("other_top_changed", moved, r.other_top_changed, "1",
        "1 = that prompt's likeliest next token is another one; -1 = not computed");
  visit("other_kl", moved, r.other_kl, "nat",
        "divergence KL(before || after) of that prompt's next token");
  visit("context_text", {"context"}, r.contexts, "1",
        "text that stands before the prompt; empty = nothing");
  visit("context_tokens", {"context"}, r.context_tokens, "1", "vocabulary ids of its tokens");
  visit("members", {"set", "prompt"}, r.members, "1", "1 = the prompt belongs to the set");
  visit("asked", {"set", "edit"}, r.asked, "1", "1 = this edit of the set's prompts was asked for");
}

// What complete_as_romes() sets.
constexpr const char* kNewer[] = {"method", "layers", "group", "outcome"};

void check_edits(const Group& group, const EditResults& r) {
  for (std::size_t e = 0; e < r.edits.size(); ++e) {
    const std::vector<std::int32_t> layers = r.layers_of(e);
    if (layers.empty() || layers.front() < 0 || layers.back() != r.layers[e] ||
        r.edits[e] != edit_name(r.methods[e], r.matrices[e], layers))
      inconsistent(group, "edit", "expected each edit's matrix and layer");
  }
  const auto check = [&](const char* name, const std::vector<float>& values) {
    if (std::any_of(values.begin(), values.end(), [](float value) { return value < 0; }))
      inconsistent(group, name, "expected numbers of at least 0, or NaN");
  };
  check("new_nll", r.after.new_nll);
  check("true_nll", r.after.true_nll);
  check("new_nll_before", r.before.new_nll);
  check("true_nll_before", r.before.true_nll);
  check("delta_norm", r.delta_norm);
  check("update_norm", r.update_norm);
}

}  // namespace

std::string to_string(EditQuestion kind) {
  switch (kind) {
    case EditQuestion::kRewrite:
      return "rewrite";
    case EditQuestion::kParaphrase:
      return "paraphrase";
    case EditQuestion::kNeighbour:
      break;
  }
  return "neighbour";
}

std::string to_string(OtherFact kind) {
  switch (kind) {
    case OtherFact::kSameRelation:
      return "same relation";
    case OtherFact::kSameSubject:
      return "same subject";
    case OtherFact::kUnrelated:
      break;
  }
  return "unrelated";
}

std::string layers_in_words(const std::vector<std::int32_t>& layers) {
  std::string words;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool follows = i > 0 && layers[i] == layers[i - 1] + 1;
    if (follows && i + 1 < layers.size() && layers[i + 1] == layers[i] + 1) continue;
    words += fmt::format("{}{}", i == 0 ? "" : follows ? "-" : ", ", layers[i]);
  }
  return words;
}

std::string edited_name(const std::string& method, const std::string& matrix) {
  return method == kRomeMethod ? matrix : fmt::format("{} {}", method, matrix);
}

std::string edit_name(const std::string& method, const std::string& matrix,
                      const std::vector<std::int32_t>& layers) {
  return fmt::format("{} {}", edited_name(method, matrix), layers_in_words(layers));
}

void complete_as_romes(EditResults& results) {
  results.methods.assign(results.edits.size(), kRomeMethod);
  results.all_layers.clear();
  for (const std::int32_t layer : results.layers)
    results.all_layers.push_back(std::to_string(layer));
  results.groups.assign(results.prompts.size(), kAlone);
  results.outcomes.clear();
  for (const std::int32_t steps : results.steps)
    results.outcomes.push_back(
        static_cast<std::int32_t>(steps >= 0 ? EditOutcome::kEdited : EditOutcome::kNone));
}

std::vector<std::int32_t> EditResults::layers_of(std::size_t edit) const {
  std::istringstream words(all_layers[edit]);
  return {std::istream_iterator<std::int32_t>(words), {}};
}

std::vector<std::string> EditResults::question_names() const {
  return numbered_names(question_kinds);
}
std::vector<std::string> EditResults::other_names() const {
  return numbered_names(other_kinds);
}

ArrayGroup arrays_of(const EditResults& results) {
  ArrayGroup group{kGroup};
  group.attributes = results.settings;
  std::vector<std::int32_t> contexts(results.contexts.size());
  for (std::size_t i = 0; i < contexts.size(); ++i) contexts[i] = static_cast<std::int32_t>(i);
  group.axes = {
      {"edit", results.edits, {"1", "edited matrix and layer"}},
      {"prompt", results.prompts, {"1", "id of the prompt in the dataset"}},
      {"question", results.question_names(), {"1", "what is asked after an edit"}},
      {"other", results.other_names(), {"1", "facts that the edit is not about"}},
      {"context", contexts, {"1", "number of the context; 0 = the bare prompt"}},
      {"set", results.sets, {"1", "name of a set of prompts, the main one first"}},
  };
  each_array(results, [&](const std::string& name, const std::vector<std::string>& axes,
                          const auto& values, const char* units, const std::string& description) {
    group.arrays.push_back({name, axes, values, {units, description}});
  });
  return group;
}

ArrayGroup arrays_of(const EditFactors& factors) {
  const auto count = [](std::int64_t size) {
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int32_t>(i);
    return numbers;
  };
  ArrayGroup group{fmt::format("{}{}", kFactors, factors.edit)};
  group.attributes = {{"edit", factors.name}, {"matrix", factors.matrix}};
  group.axes = {{"prompt", factors.prompts, {"1", "id of the prompt in the dataset"}},
                {"in", count(factors.in), {"1", "place in a key, the matrix's input"}},
                {"out", count(factors.out), {"1", "place in a value, the matrix's output"}}};
  if (!factors.together) {
    group.attributes.emplace_back("layer", std::int64_t{factors.layers.at(0)});
    group.arrays = {
        {"u", {"prompt", "in"}, factors.u, {"1", "unit vector of keys; NaN = none"}},
        {"r", {"prompt", "out"}, factors.r, {"1", "the matrix changes by r u^T; NaN = none"}}};
    return group;
  }
  group.axes.push_back({kLayer, factors.layers, {"layer", "whose matrix changes"}});
  group.arrays = {
      {"u", {"prompt", kLayer, "in"}, factors.u, {"1", "direction of keys; NaN = none"}},
      {"r",
       {"prompt", kLayer, "out"},
       factors.r,
       {"1", "a layer's matrix changes by the sum of r u^T over a group's prompts; NaN = none"}}};
  return group;
}

bool has_edits(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(kGroup);
}

EditResults read_edits(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model).open_group(kGroup);
  EditResults results;
  for (const char* name : kTexts) results.settings.emplace_back(name, group.text_attribute(name));
  for (const char* name : kWholeNumbers)
    results.settings.emplace_back(name, group.integer_attribute(name));
  if (group.has_attribute(kMemitFacts))
    results.settings.emplace_back(kMemitFacts, group.integer_attribute(kMemitFacts));
  for (const char* name : kNumbers) results.settings.emplace_back(name, group.real_attribute(name));
  if (group.has_attribute(kMemitWeight))
    results.settings.emplace_back(kMemitWeight, group.real_attribute(kMemitWeight));
  results.edits = group.read_axis<std::string>("edit");
  check_unique(group, "edit", results.edits);
  results.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, results.prompts);
  results.question_kinds = kinds_named(group, "question", kQuestions);
  results.other_kinds = kinds_named(group, "other", kOtherFacts);
  results.sets = group.read_axis<std::string>("set");
  check_unique(group, "set", results.sets);
  const std::map<std::string, std::size_t> lengths = {
      {"edit", results.edits.size()},
      {"prompt", results.prompts.size()},
      {"question", results.question_kinds.size()},
      {"other", results.other_kinds.size()},
      {"context", group.read_axis<std::int32_t>("context").size()},
      {"set", results.sets.size()}};
  const bool older = !group.has(kNewer[0]);
  each_array(results, [&](const std::string& name, const std::vector<std::string>& axes,
                          auto& values, const char*, const std::string&) {
    if (older && std::find(std::begin(kNewer), std::end(kNewer), name) != std::end(kNewer)) return;
    hdf5::Shape shape;
    for (const std::string& axis : axes) shape.push_back(lengths.at(axis));
    values =
        group.read<typename std::remove_reference_t<decltype(values)>::value_type>(name, shape);
  });
  if (older) complete_as_romes(results);
  check_edits(group, results);
  return results;
}

std::vector<std::int64_t> edits_with_factors(const ResultsReader& reader,
                                             const std::string& model) {
  return numbered(reader.arrays_of(model), kFactors);
}

EditFactors read_edit_factors(const ResultsReader& reader, const std::string& model,
                              std::int64_t edit) {
  const Group group = reader.arrays_of(model).open_group(fmt::format("{}{}", kFactors, edit));
  EditFactors factors;
  factors.edit = edit;
  factors.name = group.text_attribute("edit");
  factors.matrix = group.text_attribute("matrix");
  factors.together = group.has(kLayer);
  factors.layers = factors.together
                       ? group.read_axis<std::int32_t>(kLayer)
                       : std::vector{static_cast<std::int32_t>(group.integer_attribute("layer"))};
  factors.prompts = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, factors.prompts);
  const std::size_t in = group.read_axis<std::int32_t>("in").size(),
                    out = group.read_axis<std::int32_t>("out").size();
  factors.in = static_cast<std::int64_t>(in);
  factors.out = static_cast<std::int64_t>(out);
  const auto rows = [&](const char* name, std::size_t width) {
    hdf5::Shape shape = {factors.prompts.size(), width};
    if (factors.together) shape.insert(shape.begin() + 1, factors.layers.size());
    return group.read<float>(name, shape);
  };
  factors.u = rows("u", in);
  factors.r = rows("r", out);
  return factors;
}

}  // namespace factflow
