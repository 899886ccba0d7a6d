#include "model/families/rotary.hpp"

#include <string>

#include <fmt/format.h>

namespace factflow {
namespace {

constexpr double kDefaultTheta = 10000;
constexpr double kDefaultGptNeoxShare = 0.25;

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
    rotary.scaling = Rotary::Scaling::kLlama3;
    rotary.factor = rope.number("factor");
    rotary.low_frequency_factor = rope.number("low_freq_factor");
    rotary.high_frequency_factor = rope.number("high_freq_factor");
    rotary.original_max_positions = rope.number("original_max_position_embeddings", positions);
  } else {
    rope.fail("rope_type",
              fmt::format("supported are default, linear and llama3, found '{}'", type));
  }
  if (!(rotary.factor > 0)) rope.fail("factor", "expected a positive number");
  if (!(rotary.low_frequency_factor > 0 &&
        rotary.high_frequency_factor > rotary.low_frequency_factor))
    rope.fail("high_freq_factor",
              fmt::format("expected a number above low_freq_factor = {}, itself above 0, found {}",
                          rotary.low_frequency_factor, rotary.high_frequency_factor));
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

Rotary read(ConfigReader& config, int head_size, const Spelling& spelling) {
  const char *older = "rope_scaling", *newer = "rope_parameters";
  const bool both = gives(config, older) && gives(config, newer);
  const Rotary rotary =
      read_object(config, gives(config, older) ? older : newer, head_size, spelling);
  if (both && read_object(config, newer, head_size, spelling) != rotary)
    config.fail(older, fmt::format("says something else than {}; keep one of them", newer));
  if (!(rotary.theta > 0) || rotary.dimensions < 2 || 2 * ((rotary.dimensions + 1) / 2) > head_size)
    config.fail(spelling.theta.outer, fmt::format("cannot rotate {} of {} dimensions with base {}",
                                                  rotary.dimensions, head_size, rotary.theta));
  return rotary;
}

}  // namespace

Rotary read_rotary(ConfigReader& config, int head_size, int positions) {
  return read(config, head_size, {{"rope_theta", "rope_theta", kDefaultTheta}, nullptr, positions});
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
