#include "model/families/rotary.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace factflow {
namespace {

constexpr double kDefaultTheta = 10000;
constexpr double kDefaultGptNeoxShare = 0.25;
constexpr double kPhi3Positions = 4096;  // the class's original_max_position_embeddings

// A number that stands at the top level, and in newer files in the object of the scaling.
struct Key {
  const char* outer;
  const char* inner;
  double fallback;
};

// The family's names. Without a key for the share of a head that is rotated, it is all of it.
struct Spelling {
  Key theta;
  const Key* share;
  int positions;        // the class's default of max_position_embeddings
  bool copies = false;  // theta and share under the inner names at the top level as well
};

bool gives(ConfigReader& config, const char* key) {
  return config.has(key) && !config.is_null(key);
}

// Null at the top level is what transformers 5 leaves behind where it has moved a number inside.
double read_number(ConfigReader& config, ConfigReader& rope, const Key& key) {
  if (!rope.has(key.inner)) return config.number(key.outer, key.fallback);
  const double value = rope.number(key.inner);
  if (gives(config, key.outer) && config.number(key.outer) != value)
    rope.fail(key.inner,
              fmt::format("is {}, but {} is {}", value, key.outer, config.number(key.outer)));
  return value;
}

// A copy that transformers 4.47 to 4.57 write beside the family's own key, where some of them read
// the one and some the other.
void check_copy(ConfigReader& config, const char* copy, const char* key, double value) {
  if (gives(config, copy) && config.number(copy) != value)
    config.fail(copy, fmt::format("is {}, but {} is {}{}", config.number(copy), key, value,
                                  config.has(key) ? "" : ", the family's default"));
}

// A number above 0; absent, null and 0 are the fallback.
double positive(ConfigReader& rope, const char* key, double fallback) {
  if (!gives(rope, key) || rope.says(key, 0)) {
    rope.ignore({key});
    return fallback;
  }
  const double value = rope.number(key);
  if (!(value > 0)) rope.fail(key, fmt::format("expected a positive number, found {}", value));
  return value;
}

void read_llama3(ConfigReader& rope, double positions, Rotary& rotary) {
  rotary.scaling = Rotary::Scaling::kLlama3;
  rotary.factor = rope.number("factor");
  rotary.low_frequency_factor = rope.number("low_freq_factor");
  rotary.high_frequency_factor = rope.number("high_freq_factor");
  rotary.original_max_positions = rope.number("original_max_position_embeddings", positions);
  if (!(rotary.low_frequency_factor > 0 &&
        rotary.high_frequency_factor > rotary.low_frequency_factor))
    rope.fail("high_freq_factor",
              fmt::format("expected a number above low_freq_factor = {}, itself above 0, found {}",
                          rotary.low_frequency_factor, rotary.high_frequency_factor));
}

void expect_even(ConfigReader& rope, const Rotary& rotary, const std::string& type) {
  if (rotary.dimensions % 2 != 0)
    rope.fail("rope_type", fmt::format("{} needs an even number of rotated dimensions, found {}",
                                       type, rotary.dimensions));
}

// The attention factor of YaRN, section 3.4 of the paper, as transformers computes it.
void read_yarn(ConfigReader& rope, double positions, Rotary& rotary) {
  expect_even(rope, rotary, "yarn");
  if (rotary.theta == 1) rope.fail("rope_theta", "yarn needs another base than 1");
  rotary.scaling = Rotary::Scaling::kYarn;
  rotary.original_max_positions = positive(rope, "original_max_position_embeddings", positions);
  if (!rope.has("factor")) rope.fail("factor", "is missing");
  rotary.factor = positive(rope, "factor", positions / rotary.original_max_positions);
  rotary.fast_turns = positive(rope, "beta_fast", rotary.fast_turns);
  rotary.slow_turns = positive(rope, "beta_slow", rotary.slow_turns);
  rotary.whole_dimensions = !gives(rope, "truncate") || rope.flag("truncate");
  rope.ignore({"truncate"});
  const auto scale = [&](double m) {
    return rotary.factor <= 1 ? 1.0 : 0.1 * m * std::log(rotary.factor) + 1;
  };
  const double m = positive(rope, "mscale", 0), all = positive(rope, "mscale_all_dim", 0);
  const double derived = m > 0 && all > 0 ? scale(m) / scale(all) : scale(1);
  rotary.magnitude = positive(rope, "attention_factor", derived);
}

std::vector<double> read_factors(ConfigReader& rope, const char* key, int count) {
  const nlohmann::json& list = rope.raw(key);
  const auto fail = [&] {
    rope.fail(key, fmt::format("expected a list of {} positive numbers, one per frequency", count));
  };
  if (!list.is_array() || list.size() != static_cast<size_t>(count)) fail();
  std::vector<double> factors;
  for (const nlohmann::json& factor : list) {
    if (!factor.is_number() || !(factor.get<double>() > 0)) fail();
    factors.push_back(factor.get<double>());
  }
  return factors;
}

void read_longrope(ConfigReader& rope, double positions, Rotary& rotary) {
  expect_even(rope, rotary, "longrope");
  rotary.scaling = Rotary::Scaling::kLongrope;
  rotary.original_max_positions = positive(rope, "original_max_position_embeddings", positions);
  rotary.short_factors = read_factors(rope, "short_factor", rotary.dimensions / 2);
  rotary.long_factors = read_factors(rope, "long_factor", rotary.dimensions / 2);
  const double factor = positive(rope, "factor", positions / rotary.original_max_positions);
  const double derived =
      factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(rotary.original_max_positions));
  rotary.magnitude = positive(rope, "attention_factor", derived);
}

// `positions`: of the model.
void read_scaling(ConfigReader& rope, double positions, Rotary& rotary) {
  const std::string type = rope.word(rope.spelling("rope_type", "type"), "default");
  if (type == "default") {  // whatever is said of a scaling must say that there is none
    rope.expect_or_null("factor", 1);
    rope.expect_or_null("attention_factor", 1);
    rope.ignore({"original_max_position_embeddings"});
    return;
  }
  if (type == "linear") {
    rotary.scaling = Rotary::Scaling::kLinear;
    rotary.factor = rope.number("factor");
  } else if (type == "llama3") {
    read_llama3(rope, positions, rotary);
  } else if (type == "yarn") {
    read_yarn(rope, positions, rotary);
  } else if (type == "longrope") {
    read_longrope(rope, positions, rotary);
  } else {
    rope.fail(
        "rope_type",
        fmt::format("supported are default, linear, llama3, yarn and longrope, found '{}'", type));
  }
  if (!(rotary.factor > 0)) rope.fail("factor", "expected a positive number");
  if (!(rotary.original_max_positions > 0))
    rope.fail("original_max_position_embeddings", "expected a positive number");
}

// `key`: the object that holds the scaling; it may be absent.
Rotary read_object(ConfigReader& config, const std::string& key, int head_size,
                   const Spelling& spelling) {
  static const nlohmann::json kEmpty = nlohmann::json::object();
  const nlohmann::json& object = config.raw(key);
  ConfigReader rope(object.is_null() ? kEmpty : object, config.file(), key + ".");
  Rotary rotary;
  rotary.theta = read_number(config, rope, spelling.theta);
  if (spelling.copies) check_copy(config, spelling.theta.inner, spelling.theta.outer, rotary.theta);
  rotary.dimensions = head_size;
  if (spelling.share != nullptr) {
    const double share = read_number(config, rope, *spelling.share);
    if (spelling.copies) check_copy(config, spelling.share->inner, spelling.share->outer, share);
    if (!(share > 0 && share <= 1))
      config.fail(spelling.share->outer,
                  fmt::format("expected a share of the head in (0, 1], found {}", share));
    rotary.dimensions = static_cast<int>(head_size * share);
  }
  if (spelling.share == nullptr) rope.expect_or_null("partial_rotary_factor", 1);
  read_scaling(rope, config.number("max_position_embeddings", spelling.positions), rotary);
  rope.finish({});
  return rotary;
}

void check_turns(ConfigReader& config, const char* key, const Rotary& rotary, int head_size) {
  if (!(rotary.theta > 0) || rotary.dimensions < 2 || 2 * ((rotary.dimensions + 1) / 2) > head_size)
    config.fail(key, fmt::format("cannot rotate {} of {} dimensions with base {}",
                                 rotary.dimensions, head_size, rotary.theta));
}

Rotary read(ConfigReader& config, int head_size, const Spelling& spelling) {
  const char *older = "rope_scaling", *newer = "rope_parameters";
  const bool both = gives(config, older) && gives(config, newer);
  const Rotary rotary =
      read_object(config, gives(config, older) ? older : newer, head_size, spelling);
  if (both && read_object(config, newer, head_size, spelling) != rotary)
    config.fail(older, fmt::format("says something else than {}; keep one of them", newer));
  check_turns(config, spelling.theta.outer, rotary, head_size);
  return rotary;
}

// One kind's dictionary, which is complete.
Rotary read_kind(ConfigReader& config, const std::string& name, const nlohmann::json& object,
                 int head_size, double positions) {
  if (!object.is_object())
    config.fail(name, fmt::format("expected an object, found {}", object.dump()));
  ConfigReader rope(object, config.file(), name + ".");
  Rotary rotary;
  rotary.theta = rope.number("rope_theta");
  rotary.dimensions = head_size;
  rope.expect_or_null("partial_rotary_factor", 1);
  // transformers 5 looks for it one level too high, so it has no effect there.
  rope.expect_or_null("truncate", true);
  read_scaling(rope, positions, rotary);
  rope.finish({});
  return rotary;
}

// A copy in which the names of the older versions are those of transformers 5.
nlohmann::json phi3_scaling(const nlohmann::json& given) {
  nlohmann::json object = given.is_object() ? given : nlohmann::json::object();
  for (const char* key : {"type", "rope_type"})
    if (object.contains(key) && object.at(key) == "su") object[key] = "longrope";
  object.erase("original_max_position_embeddings");  // read outside
  return object;
}

}  // namespace

Rotary read_phi3_rotary(ConfigReader& config, int head_size, int positions) {
  const bool older = gives(config, "rope_scaling");
  if (older && gives(config, "rope_parameters"))
    config.fail("rope_scaling", "stands beside rope_parameters; keep one of them");
  const std::string name = older ? "rope_scaling" : "rope_parameters";
  config.ignore({"rope_scaling", "rope_parameters"});
  const nlohmann::json object = phi3_scaling(config.raw(name));
  ConfigReader rope(object, config.file(), name + ".");
  constexpr Key kTheta{"rope_theta", "rope_theta", kDefaultTheta},
      kShare{"partial_rotary_factor", "partial_rotary_factor", 1};
  Rotary rotary;
  rotary.theta = read_number(config, rope, kTheta);
  const double share = read_number(config, rope, kShare);
  rotary.dimensions = static_cast<int>(head_size * share);
  if (!(share > 0 && share <= 1) || rotary.dimensions % 2 != 0)
    config.fail(kShare.outer, fmt::format("expected a share that rotates an even number of {} "
                                          "dimensions, found {}, of {}",
                                          head_size, share, rotary.dimensions));
  const double all = config.number("max_position_embeddings", positions),
               original = config.number("original_max_position_embeddings", kPhi3Positions);
  const std::string type = rope.word(rope.spelling("rope_type", "type"), "default");
  if (type == "longrope") {
    nlohmann::json whole = object;
    whole["original_max_position_embeddings"] = original;
    ConfigReader complete(whole, config.file(), name + ".");
    complete.ignore({"rope_theta", "partial_rotary_factor", "rope_type", "type"});
    read_longrope(complete, all, rotary);
    complete.finish({});
  } else if (type == "default") {
    read_scaling(rope, all, rotary);
    rope.finish({});
  } else {
    rope.fail("rope_type", fmt::format("supported are default and longrope, found '{}'", type));
  }
  check_turns(config, kTheta.outer, rotary, head_size);
  return rotary;
}

RotaryByKind read_rotary_by_kind(ConfigReader& config, int head_size,
                                 const RotaryDefaults& defaults) {
  const char *full = "full_attention", *sliding = "sliding_attention";
  nlohmann::json kinds = config.raw("rope_parameters");
  if (kinds.is_null()) kinds = nlohmann::json::object();
  if (!kinds.is_object()) config.fail("rope_parameters", "expected an object");
  for (const auto& [key, value] : kinds.items())
    if (key != full && key != sliding)
      config.fail("rope_parameters",
                  fmt::format("expected {} and {}, found {}: what does not stand in one of them is "
                              "lost in transformers 5",
                              full, sliding, key),
                  "write it into both, as far as it is meant for both");
  for (const char* kind : {full, sliding})
    if (!kinds.contains(kind) || kinds.at(kind).is_null()) kinds[kind] = {{"rope_type", "default"}};
  if (const nlohmann::json& scaling = config.raw("rope_scaling"); !scaling.is_null()) {
    if (!scaling.is_object()) config.fail("rope_scaling", "expected an object");
    if (scaling.contains("type") && !scaling.contains("rope_type"))
      kinds.at(full).erase("rope_type");
    kinds.at(full).update(scaling);
  }
  const double outer =
      gives(config, "rope_theta") ? config.number("rope_theta") : defaults.full_theta;
  if (defaults.sliding_key == nullptr && outer != defaults.full_theta)
    config.fail("rope_theta",
                fmt::format("versions of transformers disagree which layers {} belongs to", outer),
                "write it into rope_parameters, for each kind of layer");
  const double sliding_theta =
      defaults.sliding_key != nullptr && gives(config, defaults.sliding_key)
          ? config.number(defaults.sliding_key)
          : defaults.sliding_theta;
  config.ignore({"rope_theta"});
  if (defaults.sliding_key != nullptr) config.ignore({defaults.sliding_key});
  if (!kinds.at(full).contains("rope_theta")) kinds.at(full)["rope_theta"] = outer;
  if (!kinds.at(sliding).contains("rope_theta")) kinds.at(sliding)["rope_theta"] = sliding_theta;
  const double positions = config.number("max_position_embeddings", defaults.positions);
  const bool older = gives(config, "rope_scaling") && !gives(config, "rope_parameters");
  const auto read_one = [&](const std::string& kind) {
    const std::string name = older && kind == full ? "rope_scaling" : "rope_parameters." + kind;
    const Rotary rotary = read_kind(config, name, kinds.at(kind), head_size, positions);
    check_turns(config, name.c_str(), rotary, head_size);
    return rotary;
  };
  return {read_one(full), read_one(sliding)};
}

Rotary read_rotary(ConfigReader& config, int head_size, int positions, double theta) {
  return read(config, head_size, {{"rope_theta", "rope_theta", theta}, nullptr, positions});
}

Rotary read_gpt_neox_rotary(ConfigReader& config, int head_size) {
  constexpr Key kShare{"rotary_pct", "partial_rotary_factor", kDefaultGptNeoxShare};
  return read(config, head_size,
              {{"rotary_emb_base", "rope_theta", kDefaultTheta},
               &kShare,
               /*positions=*/2048,
               /*copies=*/true});
}

}  // namespace factflow
