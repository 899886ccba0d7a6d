// The section `parts` of a configuration.
#include <limits>

#include "experiments/forms.hpp"
#include "experiments/parts/parts.hpp"
#include "experiments/parts/ranking.hpp"

namespace factflow {
namespace {

constexpr FieldOptions kRequired = {.required = true};
constexpr int kMostOrdering = 100000;
constexpr std::int64_t kMostPrompts = std::numeric_limits<std::int64_t>::max();

Form<TokenRole> role_form() {
  return text_form(
      "token role",
      [](const std::string& given) {
        const TokenRole role = parse_token_role(given);
        if (role == TokenRole::kEach)
          throw InputError("", "the role 'each' is for heatmaps only",
                           "parts are of edges between groups of tokens");
        return role;
      },
      [](TokenRole role) { return to_string(role); });
}

Fields<CumulateConfig> cumulate_fields() {
  using C = CumulateConfig;
  return {field("prompts", &C::prompts, whole_number<int>(1, kMostOrdering),
                "how many prompts of the dataset put the parts in order", kRequired),
          field<C, std::uint64_t>("seed", &C::seed,
                                  whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                                  "draws these prompts, and the order that is the control")};
}

Fields<PartsConfig> parts_fields() {
  using P = PartsConfig;
  Fields<P> fields = {
      field("from", &P::from, list_of(role_form()), "source tokens, as in sweep.knockouts"),
      field("to", &P::to, list_of(role_form()), "target tokens"),
      field("windows", &P::windows, section(windows_fields()), "", kRequired),
      field("channels", &P::channels, list_of(division_form()),
            "what loses the edge, one part after the other: each head; each quantile of K (slices "
            "of the decay ranking), each quantile of K by exp(A dt) (by the decay that happens in "
            "prompts), each random of K, each group of K (neighbours)",
            kRequired),
      field("cumulate", &P::cumulate, word_or("none", CumulateConfig{}, section(cumulate_fields())),
            "knock parts out together, one more at a time, the largest first"),
      field("ranking", &P::ranking, ranking_form(),
            "prompts in which exp(A dt) is measured; usually 64, drawn by seed 1"),
      field<P, std::int64_t>(
          "prompts", &P::prompts,
          word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kMostPrompts)),
          "only the first N prompts of the set"),
  };
  for (Field<P>& more : whom_fields<P>()) fields.push_back(std::move(more));
  return fields;
}

}  // namespace

Form<std::vector<PartsConfig>> parts_form() {
  return one_or_several(section(parts_fields()));
}

}  // namespace factflow
