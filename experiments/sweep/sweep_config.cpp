// The section `sweep` of a configuration.
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"
#include "experiments/forms.hpp"
#include "experiments/sweep/sweep.hpp"

namespace factflow {
namespace {

constexpr FieldOptions kRequired = {.required = true};

// Every role but `each`.
Form<TokenRole> knockout_role() {
  return text_form(
      "token role",
      [](const std::string& given) {
        const TokenRole role = parse_token_role(given);
        if (role == TokenRole::kEach)
          throw InputError("", "the role 'each' is for heatmaps only",
                           "use the section 'heatmaps', which blocks each single token in turn");
        return role;
      },
      [](TokenRole role) { return to_string(role); });
}

Fields<KnockoutConfig> knockout_fields() {
  using K = KnockoutConfig;
  return {
      field("from", &K::from, list_of(knockout_role()),
            "source tokens: last, first, subject, relation, relation-minus-last, context or all",
            kRequired),
      field("to", &K::to, list_of(knockout_role()),
            "target tokens, which no longer read the sources", kRequired),
      field("channels", &K::channels, list_of(channel_set_form()),
            "channels (Mamba-1) or heads (Mamba-2) that lose the edge: all, slow, fast, not-slow, "
            "not-fast, "
            "quantile k/K; in a model with attention as well they go with path: recurrent"),
      field("parts", &K::parts, word_or("none", std::vector<PartName>{}, list_of(part_name_form())),
            "likewise, beside `channels`: random k/K [seed S], group k/K (neighbours), head N"),
      field("path", &K::path, list_of(path_form()),
            "which mixers lose the edge: attention, recurrent (all others), or both"),
  };
}

std::vector<std::string> names_of_channels(const KnockoutConfig& knockout) {
  std::vector<std::string> names;
  for (const ChannelSet& channels : knockout.channels) names.push_back(to_string(channels));
  for (const PartName& part : knockout.parts) names.push_back(to_string(part));
  return names;
}

// Each edge is computed once, so the same edge from two lines would be a mistake of the
// configuration.
void check_edges(const std::vector<KnockoutConfig>& knockouts, const YamlNode& node,
                 const Place& place) {
  std::map<std::string, std::size_t> seen;
  const bool is_list = node.kind == YamlNode::Kind::kList;
  for (std::size_t i = 0; i < knockouts.size(); ++i) {
    for (const TokenRole from : knockouts[i].from)
      for (const TokenRole to : knockouts[i].to)
        for (const std::string& channels : names_of_channels(knockouts[i]))
          for (const Path path : knockouts[i].path) {
            std::string edge =
                fmt::format("{} -> {}, channels {}", to_string(from), to_string(to), channels);
            if (path != Path::kBoth) edge += ", path " + to_string(path);
            const auto [first, is_new] = seen.emplace(edge, i);
            if (!is_new)
              reject(is_list ? place.item(i) : place, is_list ? node.items[i].line : node.line,
                     fmt::format("gives the edge {} a second time, first in {}", edge,
                                 place.item(first->second).key),
                     "remove one of them");
          }
  }
}

Fields<SweepConfig> sweep_fields() {
  using S = SweepConfig;
  Fields<S> fields = {
      field("windows", &S::windows, section(windows_fields()), "", kRequired),
      field("knockouts", &S::knockouts, checked(list_of(section(knockout_fields())), check_edges),
            "", kRequired),
  };
  for (Field<S>& more : whom_fields<S>()) fields.push_back(std::move(more));
  return fields;
}

}  // namespace

Form<std::vector<SweepConfig>> sweep_form() {
  return one_or_several(section(sweep_fields()));
}

}  // namespace factflow
