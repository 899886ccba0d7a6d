#include "model/locate_cases.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "model/oracle_interventions.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using Cases = LocateCases;
using Numbers = std::vector<double>;
using Matrix = std::vector<Numbers>;

void require(bool right, std::string_view problem) {
  if (!right) throw std::invalid_argument(std::string(problem));
}

// What `read` gives for a value, with where it stands in front of what is wrong with it.
template <class Read>
auto within(const std::string& place, Read read) {
  const auto fail = [&](const char* problem) {
    throw std::invalid_argument(fmt::format("{}: {}", place, problem));
  };
  try {
    return read();
  } catch (const json::exception& error) {
    fail(error.what());
  } catch (const std::invalid_argument& error) {
    fail(error.what());
  } catch (const InputError& error) {
    fail(error.what());
  }
  throw std::logic_error(place);
}

template <class Read>
auto each(const json& list, const std::string& name, Read read) {
  std::vector<decltype(read(list))> all;
  require(list.is_array(), fmt::format("{}: expected a list", name));
  for (const json& item : list)
    all.push_back(within(fmt::format("{}[{}]", name, all.size()), [&] { return read(item); }));
  return all;
}

template <class Read>
auto list_of(const json& object, const char* key, Read read) {
  return each(object.at(key), key, read);
}

template <class T>
T value_of(const json& object, const char* key) {
  return within(key, [&] { return object.at(key).get<T>(); });
}

// null: absent.
template <class T>
std::optional<T> optional_of(const json& object, const char* key) {
  if (within(key, [&] { return object.at(key).is_null(); })) return std::nullopt;
  return value_of<T>(object, key);
}

std::string word_of(const json& object, const char* key,
                    std::initializer_list<std::string_view> known) {
  auto word = value_of<std::string>(object, key);
  require(std::find(known.begin(), known.end(), word) != known.end(),
          fmt::format("{}: unknown word '{}'", key, word));
  return word;
}

Site site_of(const json& object, const char* key = "site") {
  return within(key, [&] { return parse_site(object.at(key).get<std::string>()); });
}

bool is_matrix(const Matrix& p, size_t rows, size_t columns) {
  return p.size() == rows &&
         std::all_of(p.begin(), p.end(), [&](const Numbers& row) { return row.size() == columns; });
}

class Reader {
 public:
  Reader(int vocabulary, int layers) : vocabulary_(vocabulary), layers_(layers) {}

  Cases read(const json& file) {
    allow_keys(file, {"family", "layers", "facts", "runs", "traces", "noise", "paths", "mean_runs",
                      "means", "knockouts", "edits", "memit", "lre", "attributions"});
    Cases& all = all_;
    all.family = value_of<std::string>(file, "family");
    all.layers = value_of<int>(file, "layers");
    require(all.layers == layers_,
            fmt::format("layers: {}, but the model has {}", all.layers, layers_));
    all.facts = list_of(file, "facts", [&](const json& o) { return fact(o); });
    all.runs = list_of(file, "runs", [&](const json& o) { return tokens(o); });
    all.traces = list_of(file, "traces", [&](const json& o) { return trace(o); });
    all.noise = list_of(file, "noise", [&](const json& o) { return noise(o); });
    all.paths = list_of(file, "paths", [&](const json& o) { return path(o); });
    all.mean_runs = value_of<int>(file, "mean_runs");
    require(all.mean_runs >= 0 && all.mean_runs <= static_cast<int>(all.runs.size()),
            "mean_runs: more than there are runs");
    within("means", [&] {
      read_means(file.at("means"));
      return 0;
    });
    all.knockouts = list_of(file, "knockouts", [&](const json& o) { return knockout(o); });
    all.edits = list_of(file, "edits", [&](const json& o) { return edit(o); });
    all.memit = within("memit", [&] { return memit(file.at("memit")); });
    all.lre = list_of(file, "lre", [&](const json& o) { return lre(o); });
    all.attributions = list_of(file, "attributions", [&](const json& o) { return attribution(o); });
    return std::move(all);
  }

 private:
  int token(const json& value) const {
    const int id = value.get<int>();
    require(id >= 0 && id < vocabulary_,
            fmt::format("token {} is outside the vocabulary of {}", id, vocabulary_));
    return id;
  }
  std::vector<int> tokens(const json& list) const {
    std::vector<int> ids;
    for (const json& value : list) ids.push_back(token(value));
    return ids;
  }
  std::vector<int> tokens_of(const json& object, const char* key) const {
    return within(key, [&] { return tokens(object.at(key)); });
  }
  int token_of(const json& object, const char* key) const {
    return within(key, [&] { return token(object.at(key)); });
  }
  // A place in a prompt.
  static int place_of(const json& object, const char* key, const std::vector<int>& ids) {
    const int place = value_of<int>(object, key);
    require(place >= 0 && place < static_cast<int>(ids.size()),
            fmt::format("{}: {} is outside a prompt of {}", key, place, ids.size()));
    return place;
  }
  size_t fact_of(const json& object) const {
    const auto fact = value_of<size_t>(object, "fact");
    require(fact < all_.facts.size(), fmt::format("fact: {} of {} facts", fact, all_.facts.size()));
    return fact;
  }
  size_t length_of(size_t fact) const { return all_.facts[fact].clean.size(); }
  int count_of(Site site) const { return layers_ + (site == Site::kH ? 1 : 0); }
  std::vector<int> layers_of(const json& object, int count) const {
    const auto layers = value_of<std::vector<int>>(object, "layers");
    for (const int layer : layers)
      require(layer >= 0 && layer < count, fmt::format("layers: {} of {}", layer, count));
    return layers;
  }

  Cases::Fact fact(const json& o) const {
    allow_keys(o, {"clean", "corrupted", "subject", "answer", "high", "low"});
    Cases::Fact fact{tokens_of(o, "clean"), tokens_of(o, "corrupted")};
    const auto subject = value_of<std::vector<int>>(o, "subject");
    require(subject.size() == 2 && 0 <= subject[0] && subject[0] < subject[1] &&
                subject[1] <= static_cast<int>(fact.clean.size()),
            "subject: not a range of the prompt");
    require(fact.clean.size() == fact.corrupted.size(), "clean and corrupted differ in length");
    fact.subject_begin = subject[0];
    fact.subject_end = subject[1];
    fact.answer = token_of(o, "answer");
    fact.high = value_of<double>(o, "high");
    fact.low = value_of<double>(o, "low");
    return fact;
  }

  Cases::TraceMap trace_map(const json& o, size_t fact) const {
    Cases::TraceMap map;
    map.site = site_of(o);
    map.window = value_of<int>(o, "window");
    require(map.window > 0, "window: not positive");
    map.layers = layers_of(o, count_of(map.site));
    map.p = value_of<Matrix>(o, "p");
    require(is_matrix(map.p, length_of(fact), map.layers.size()), "p: not tokens x layers");
    return map;
  }
  Cases::Trace trace(const json& o) const {
    allow_keys(o, {"fact", "corruption", "direction", "site", "window", "layers", "p"});
    Cases::Trace trace;
    trace.fact = fact_of(o);
    trace.corruption = word_of(o, "corruption", {"alt"});
    const bool restore = word_of(o, "direction", {"restore", "break"}) == "restore";
    trace.direction = restore ? Cases::Direction::kRestore : Cases::Direction::kBreak;
    trace.map = trace_map(o, trace.fact);
    return trace;
  }
  Cases::NoiseTrace noise(const json& o) const {
    allow_keys(o, {"fact", "sigma", "noise", "high", "low", "maps"});
    Cases::NoiseTrace noise;
    noise.fact = fact_of(o);
    noise.sigma = value_of<double>(o, "sigma");
    noise.noise = value_of<std::vector<Matrix>>(o, "noise");
    const Cases::Fact& fact = all_.facts[noise.fact];
    require(!noise.noise.empty(), "noise: no copies");
    for (const Matrix& copy : noise.noise)
      require(static_cast<int>(copy.size()) == fact.subject_end - fact.subject_begin,
              "noise: not a vector for each token of the subject");
    noise.high = value_of<double>(o, "high");
    noise.low = value_of<double>(o, "low");
    noise.maps = list_of(o, "maps", [&](const json& map) {
      allow_keys(map, {"site", "window", "layers", "p"});
      return trace_map(map, noise.fact);
    });
    return noise;
  }

  Cases::Path path(const json& o) const {
    allow_keys(o, {"fact", "at", "token", "severed", "layers", "p"});
    Cases::Path path;
    path.fact = fact_of(o);
    path.at = word_of(o, "at", {"subject_last", "prompt_last"});
    path.token = place_of(o, "token", all_.facts[path.fact].clean);
    if (value_of<std::string>(o, "severed") != "none") path.severed = site_of(o, "severed");
    path.layers = layers_of(o, count_of(Site::kH));
    path.p = value_of<Numbers>(o, "p");
    require(path.p.size() == path.layers.size(), "p and layers differ in length");
    return path;
  }

  void read_means(const json& o) {
    require(o.is_object(), "expected an object");
    for (const auto& [name, value] : o.items()) {
      const auto layers = value.get<Matrix>();
      require(static_cast<int>(layers.size()) == layers_, name + ": not one mean for each layer");
      all_.means[parse_site(name)] = layers;
    }
  }

  Cases::Knockout knockout(const json& o) const {
    allow_keys(o, {"fact", "mode", "set", "positions", "window", "p"});
    Cases::Knockout knockout;
    knockout.fact = fact_of(o);
    read_mode(value_of<std::string>(o, "mode"), knockout);
    knockout.set = word_of(o, "set", {"subject", "subj_last", "non_subject", "prompt_last"});
    knockout.positions = value_of<std::vector<int>>(o, "positions");
    for (const int place : knockout.positions)
      require(place >= 0 && place < static_cast<int>(length_of(knockout.fact)),
              fmt::format("positions: {} is outside the prompt", place));
    knockout.window = value_of<int>(o, "window");
    require(knockout.window > 0, "window: not positive");
    knockout.p = value_of<Numbers>(o, "p");
    require(static_cast<int>(knockout.p.size()) == layers_, "p: not one for each layer");
    return knockout;
  }
  void read_mode(const std::string& word, Cases::Knockout& knockout) const {
    using Mode = Cases::Knockout::Mode;
    constexpr std::string_view kMean = "mean-", kTwoStream = "two-stream-";
    if (word == "edges") return;
    const bool mean = word.starts_with(kMean);
    require(mean || word.starts_with(kTwoStream), fmt::format("mode: unknown word '{}'", word));
    knockout.mode = mean ? Mode::kMean : Mode::kTwoStream;
    knockout.site = parse_site(word.substr((mean ? kMean : kTwoStream).size()));
    require(all_.means.contains(knockout.site), fmt::format("mode: '{}' has no means", word));
  }

  static EditSettings settings(const json& o) {
    allow_keys(o, {"lr", "iterations", "weight_decay", "clamp_factor", "kl_factor", "stop_loss",
                   "stop_prob", "stop_prob_after"});
    EditSettings settings;
    settings.lr = value_of<double>(o, "lr");
    settings.iterations = value_of<int>(o, "iterations");
    settings.weight_decay = value_of<double>(o, "weight_decay");
    settings.clamp_factor = value_of<double>(o, "clamp_factor");
    settings.kl_factor = value_of<double>(o, "kl_factor");
    settings.stop_loss = value_of<double>(o, "stop_loss");
    settings.stop_prob = optional_of<double>(o, "stop_prob");
    settings.stop_prob_after = optional_of<int>(o, "stop_prob_after");
    return settings;
  }
  static EditStep edit_step(const json& o) {
    allow_keys(o, {"loss", "nll", "kl", "decay", "mean_prob", "delta_norm"});
    return {value_of<double>(o, "loss"),      value_of<double>(o, "nll"),
            value_of<double>(o, "kl"),        value_of<double>(o, "decay"),
            value_of<double>(o, "mean_prob"), value_of<double>(o, "delta_norm")};
  }
  static Cases::Outcome outcome(const json& o) {
    allow_keys(o, {"target", "answer", "target_nll"});
    return {value_of<double>(o, "target"), value_of<double>(o, "answer"),
            value_of<double>(o, "target_nll")};
  }
  // The part of an edit that is asked; its other keys are the caller's to know.
  EditRequest request(const json& o) const {
    EditRequest request;
    request.prompt = tokens_of(o, "prompt");
    request.subject_last = place_of(o, "subject_last", request.prompt);
    request.answer = token_of(o, "answer");
    request.target = tokens_of(o, "target");
    request.contexts = list_of(o, "contexts", [&](const json& ids) { return tokens(ids); });
    request.essence = tokens_of(o, "essence");
    request.essence_subject_last = place_of(o, "essence_subject_last", request.essence);
    request.neighbours = list_of(o, "neighbours", [&](const json& ids) { return tokens(ids); });
    require(!request.target.empty(), "target: empty");
    require(!request.contexts.empty(), "contexts: empty");
    return request;
  }
  int layer_of(const json& object, int count) const {
    const int layer = value_of<int>(object, "layer");
    require(layer >= 0 && layer < count, fmt::format("layer: {} of {}", layer, count));
    return layer;
  }
  static EditedMatrix matrix_of(const json& object) {
    return within("matrix",
                  [&] { return parse_edited_matrix(object.at("matrix").get<std::string>()); });
  }

  Cases::Edit edit(const json& o) const {
    allow_keys(o, {"prompt",
                   "subject_last",
                   "answer",
                   "target",
                   "contexts",
                   "essence",
                   "essence_subject_last",
                   "neighbours",
                   "matrix",
                   "layer",
                   "covariance",
                   "shrinkage",
                   "settings",
                   "adam_steps",
                   "k0",
                   "k_bar",
                   "c0",
                   "v0",
                   "first_grad",
                   "v_star",
                   "u",
                   "r",
                   "trace",
                   "delta_norm",
                   "before",
                   "after"});
    Cases::Edit edit;
    edit.request = request(o);
    edit.matrix = matrix_of(o);
    edit.layer = layer_of(o, layers_);
    edit.shrinkage = optional_of<double>(o, "shrinkage");
    const bool runs = word_of(o, "covariance", {"runs", "identity"}) == "runs";
    require(runs == edit.shrinkage.has_value(), "covariance and shrinkage do not fit");
    edit.settings = within("settings", [&] { return settings(o.at("settings")); });
    edit.adam_steps = value_of<int>(o, "adam_steps");
    edit.k0 = value_of<Numbers>(o, "k0");
    edit.k_bar = value_of<Numbers>(o, "k_bar");
    edit.c0 = value_of<Numbers>(o, "c0");
    edit.v0 = value_of<Numbers>(o, "v0");
    edit.first_gradient = value_of<Numbers>(o, "first_grad");
    edit.v_star = value_of<Numbers>(o, "v_star");
    edit.u = value_of<Numbers>(o, "u");
    edit.r = value_of<Numbers>(o, "r");
    edit.trace = list_of(o, "trace", edit_step);
    edit.delta_norm = value_of<double>(o, "delta_norm");
    edit.before = list_of(o, "before", outcome);
    edit.after = list_of(o, "after", outcome);
    require(edit.v_star.size() == edit.v0.size(), "v_star and v0 differ in length");
    return edit;
  }

  Cases::Memit memit(const json& o) const {
    allow_keys(o, {"matrix", "layers", "shrinkage", "weight", "settings", "facts", "z", "traces",
                   "steps", "before", "after"});
    Cases::Memit memit;
    memit.matrix = matrix_of(o);
    memit.layers = layers_of(o, layers_);
    memit.shrinkage = value_of<double>(o, "shrinkage");
    memit.weight = value_of<double>(o, "weight");
    memit.settings = within("settings", [&] { return settings(o.at("settings")); });
    memit.facts = list_of(o, "facts", [&](const json& fact) {
      allow_keys(fact, {"prompt", "subject_last", "answer", "target", "contexts", "essence",
                        "essence_subject_last", "neighbours"});
      return request(fact);
    });
    memit.z = value_of<Matrix>(o, "z");
    const auto per_fact = [&](const char* key, auto read_one) {
      return list_of(o, key, [&](const json& of_fact) { return each(of_fact, "", read_one); });
    };
    memit.traces = per_fact("traces", edit_step);
    memit.steps = list_of(o, "steps", [](const json& step) {
      allow_keys(step, {"keys", "adj_k", "resid", "delta_norm"});
      return Cases::Memit::Step{value_of<Matrix>(step, "keys"), value_of<Matrix>(step, "adj_k"),
                                value_of<Matrix>(step, "resid"),
                                value_of<double>(step, "delta_norm")};
    });
    memit.before = per_fact("before", outcome);
    memit.after = per_fact("after", outcome);
    require(memit.steps.size() == memit.layers.size(), "steps and layers differ in length");
    for (const size_t count :
         {memit.z.size(), memit.traces.size(), memit.before.size(), memit.after.size()})
      require(count == memit.facts.size(), "z, traces, before, after: not one for each fact");
    return memit;
  }

  static Cases::MatrixDigest digest(const json& o) {
    allow_keys(o, {"shape", "corner", "norm", "times_ramp"});
    return {value_of<std::vector<int>>(o, "shape"), value_of<Matrix>(o, "corner"),
            value_of<double>(o, "norm"), value_of<Numbers>(o, "times_ramp")};
  }
  Cases::Lre::Prompt relation_prompt(const json& o, bool test) const {
    if (test)
      allow_keys(o, {"ids", "subject_last", "answer"});
    else
      allow_keys(o, {"ids", "subject_last"});
    Cases::Lre::Prompt prompt;
    prompt.ids = tokens_of(o, "ids");
    prompt.subject_last = place_of(o, "subject_last", prompt.ids);
    if (test) prompt.answer = token_of(o, "answer");
    return prompt;
  }
  static Cases::Lre::Causality causality(const json& o, size_t tests) {
    allow_keys(o, {"rank", "source", "target", "top", "p_target", "success"});
    const Cases::Lre::Causality one{value_of<int>(o, "rank"),        value_of<size_t>(o, "source"),
                                    value_of<size_t>(o, "target"),   value_of<int>(o, "top"),
                                    value_of<double>(o, "p_target"), value_of<bool>(o, "success")};
    require(one.source < tests && one.target < tests, "source, target: outside the test prompts");
    return one;
  }
  Cases::Lre lre(const json& o) const {
    allow_keys(o, {"layer", "train", "test", "J", "z", "s", "W", "b", "singular_values", "betas",
                   "predicted", "smallest_logit_gap", "faithfulness", "causality"});
    Cases::Lre lre;
    lre.layer = layer_of(o, count_of(Site::kH));
    lre.train = list_of(o, "train", [&](const json& p) { return relation_prompt(p, false); });
    lre.test = list_of(o, "test", [&](const json& p) { return relation_prompt(p, true); });
    lre.j = list_of(o, "J", digest);
    lre.z = value_of<Matrix>(o, "z");
    lre.s = value_of<Matrix>(o, "s");
    lre.w = within("W", [&] { return digest(o.at("W")); });
    lre.b = value_of<Numbers>(o, "b");
    lre.singular_values = value_of<Numbers>(o, "singular_values");
    lre.betas = value_of<Numbers>(o, "betas");
    lre.predicted = value_of<std::vector<std::vector<int>>>(o, "predicted");
    lre.smallest_logit_gap = value_of<double>(o, "smallest_logit_gap");
    lre.faithfulness = value_of<Numbers>(o, "faithfulness");
    lre.causality =
        list_of(o, "causality", [&](const json& c) { return causality(c, lre.test.size()); });
    for (const size_t count : {lre.j.size(), lre.z.size(), lre.s.size()})
      require(count == lre.train.size(), "J, z, s: not one for each training prompt");
    require(lre.predicted.size() == lre.betas.size() && lre.faithfulness.size() == lre.betas.size(),
            "predicted, faithfulness: not one for each beta");
    for (const std::vector<int>& row : lre.predicted)
      require(row.size() == lre.test.size(), "predicted: not one for each test prompt");
    return lre;
  }

  Cases::Attribution attribution(const json& o) const {
    allow_keys(o, {"fact", "site", "layers", "gradient", "integrated"});
    Cases::Attribution one;
    one.fact = fact_of(o);
    one.site = site_of(o);
    one.layers = layers_of(o, count_of(one.site));
    one.gradient = value_of<Matrix>(o, "gradient");
    one.integrated = optional_of<Matrix>(o, "integrated");
    for (const Matrix* map : {&one.gradient, one.integrated ? &*one.integrated : &one.gradient})
      require(is_matrix(*map, length_of(one.fact), one.layers.size()),
              "gradient, integrated: not tokens x layers");
    return one;
  }

  int vocabulary_, layers_;
  Cases all_;
};

}  // namespace

bool holds_locate_cases(const std::filesystem::path& path) {
  const json file = read_json_file(path);
  return file.is_object() && file.contains("facts");
}

LocateCases read_locate_cases(const std::filesystem::path& path, int vocabulary, int layers) {
  const json file = read_json_file(path);
  try {
    return Reader(vocabulary, layers).read(file);
  } catch (const json::exception& error) {
    throw InputError(path.string(), error.what());
  } catch (const std::invalid_argument& error) {
    throw InputError(path.string(), error.what());
  }
}

std::vector<int> centred_window(int layer, int width, int count) {
  std::vector<int> layers;
  for (int l = std::max(0, layer - width / 2); l < std::min(count, layer + (width + 1) / 2); ++l)
    layers.push_back(l);
  return layers;
}

}  // namespace factflow
