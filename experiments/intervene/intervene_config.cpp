// The section `intervene` of a configuration.
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"
#include "experiments/forms.hpp"
#include "experiments/intervene/intervene.hpp"
#include "experiments/parts/ranking.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

constexpr FieldOptions kRequired = {.required = true};
constexpr int kMostIndices = 1 << 24;
constexpr int kMostReferences = 64;
constexpr std::int64_t kMostPrompts = std::numeric_limits<std::int64_t>::max();

// ---- forms of single values

// A number may stand twice in a vector, unlike in list_of().
Form<std::vector<double>> numbers() {
  return {"a list of numbers",
          [](const YamlNode& node, const Place& place) {
            if (node.kind != YamlNode::Kind::kList || node.items.empty())
              reject_type(place, node, "a list of numbers");
            std::vector<double> values;
            for (std::size_t i = 0; i < node.items.size(); ++i)
              values.push_back(number().read(node.items[i], place.item(i)));
            return values;
          },
          [](const std::vector<double>& values, Purpose) -> std::optional<YamlNode> {
            if (values.empty()) return std::nullopt;
            std::vector<YamlNode> items;
            for (const double value : values)
              items.push_back(YamlNode::of_text(fmt::format("{}", value)));
            return YamlNode::of_list(std::move(items));
          }};
}

Form<Block::Through> through() {
  return one_of<Block::Through>("part", {{"state", Block::Through::kState},
                                         {"convolution", Block::Through::kConvolution},
                                         {"mixer", Block::Through::kMixer}});
}

Form<std::vector<int>> indices() {
  return word_or("none", std::vector<int>{}, list_of(whole_number<int>(0, kMostIndices)));
}

// "slow", "quantile 2/8", "quantile 2/8 by exp(A dt)"
EdgeChannels parse_edge_channels(const std::string& given) {
  if (!given.ends_with(kByHappened)) return {parse_channel_set(given), false};
  const std::string_view name(given.data(), given.size() - kByHappened.size());
  const ChannelSet set = parse_channel_set(name);
  if (set.kind != ChannelSet::Kind::kQuantile)
    throw InputError("", fmt::format("only slices are by exp(A dt), found {}", in_quotes(given)),
                     "write for instance 'quantile 1/3 by exp(A dt)'");
  return {set, true};
}

Form<EdgeChannels> edge_channels() {
  return text_form(
      "channel set", [](const std::string& given) { return parse_edge_channels(given); },
      [](const EdgeChannels& channels) {
        return channels.happened ? fmt::format("{}{}", to_string(channels.set), kByHappened)
                                 : to_string(channels.set);
      });
}

// ---- values

struct ValueKeys {
  double noise = 0;
  std::vector<double> vector;
};

Fields<ValueKeys> value_fields() {
  using V = ValueKeys;
  return {field("noise", &V::noise, number(), ""), field("vector", &V::vector, numbers(), "")};
}

constexpr const char* kValueType =
    "zero | mean | resample | {noise: standard deviation} | {vector: [numbers]}";

ValueSpec read_value(const YamlNode& node, const Place& place) {
  using Kind = ValueSpec::Kind;
  if (node.kind == YamlNode::Kind::kText) {
    static const Form<Kind> words = one_of<Kind>(
        "value", {{"zero", Kind::kZero}, {"mean", Kind::kMean}, {"resample", Kind::kResample}});
    return {words.read(node, place), 0, {}};
  }
  if (node.kind != YamlNode::Kind::kMap || node.keys.size() != 1)
    reject_type(place, node, kValueType);
  ValueKeys keys = read_fields(value_fields(), node, place);
  if (!keys.vector.empty()) return {Kind::kVector, 0, std::move(keys.vector)};
  if (keys.noise <= 0)
    reject(place.child("noise"), node.line, "is not above 0", "give a standard deviation");
  return {Kind::kNoise, keys.noise, {}};
}

std::optional<YamlNode> write_value(const ValueSpec& value, Purpose purpose) {
  YamlNode map = YamlNode::of_map();
  if (value.kind == ValueSpec::Kind::kNoise) {
    map.put("noise", number().write(value.deviation, purpose).value());
    return map;
  }
  if (value.kind == ValueSpec::Kind::kVector) {
    map.put("vector", numbers().write(value.numbers, purpose).value());
    return map;
  }
  return YamlNode::of_text(to_string(value));
}

Form<ValueSpec> value() {
  return {kValueType, read_value, write_value};
}

// ---- sections

// A section that may be missing.
template <class T>
Form<std::vector<T>> at_most_one(Form<T> form) {
  return {form.type,
          [form](const YamlNode& node, const Place& place) {
            return std::vector<T>{form.read(node, place)};
          },
          [form](const std::vector<T>& values, Purpose purpose) {
            return values.empty() ? std::optional<YamlNode>() : form.write(values[0], purpose);
          },
          form.help};
}

Fields<BlockConfig> block_fields() {
  using B = BlockConfig;
  return {
      field("from", &B::from, list_of(token_group_form()),
            "source tokens: a role, its end as in subject-last, a place (0, -1, 1..3), or each",
            kRequired),
      field("to", &B::to, list_of(token_group_form()),
            "target tokens, which no longer read the sources", kRequired),
      field("through", &B::through, list_of(through()),
            "scores or state, the convolution, or both"),
      field("channels", &B::channels, list_of(edge_channels()),
            "sets of channels (Mamba-1) or heads (Mamba-2) by decay that lose the edge; quantile "
            "k/K by exp(A dt) is one by the decay that happens in prompts"),
      field("heads", &B::heads, indices(), "these heads lose it, together"),
      field("channel_list", &B::channel_list, indices(), "these channels lose it, together"),
      field("parts", &B::parts,
            word_or("all", std::vector<std::string>{},
                    list_of(one_of<std::string>("part", {{"x", "x"}, {"b", "b"}, {"c", "c"}}))),
            "what of a Mamba-2's convolution loses it, together: x, b, c"),
      field("path", &B::path, list_of(path_form()),
            "which mixers lose it: attention, recurrent (all others), or both"),
      field("erase", &B::erase, yes_or_no(),
            "gated delta rule: whether the sources do not erase either"),
  };
}

void check_block_config(const BlockConfig& block, const YamlNode& node, const Place& place) {
  const bool sets = block.channels != std::vector<EdgeChannels>{EdgeChannels{}};
  if (int{sets} + int{!block.heads.empty()} + int{!block.channel_list.empty()} > 1)
    reject(place, node.line, "gives more than one of channels, heads and channel_list",
           "choose in one way what loses the edge");
  const bool convolution = block.through == std::vector{Block::Through::kConvolution};
  if (!block.parts.empty() && !convolution)
    reject(place.child("parts"), node.line, "is of the convolution alone",
           "write through: convolution");
}

Fields<WriteConfig> write_fields(bool add) {
  using W = WriteConfig;
  Fields<W> fields = {
      field("site", &W::sites, list_of(site_form()), "where: docs/interventions.md lists the sites",
            kRequired),
      field("tokens", &W::tokens, list_of(token_group_form()), "at which tokens, as in block: from",
            kRequired),
      field("value", &W::values, list_of(value()),
            "what: mean over the reference prompts' tokens; resample, of another of them; noise of "
            "its own for each prompt, token and channel; a number per channel",
            kRequired),
      field("channel_list", &W::channel_list, indices(), "only these channels"),
  };
  if (add)
    fields.push_back(field("scale", &W::scale, number(), "how many times the value is added"));
  return fields;
}

void check_add(const WriteConfig& add, const YamlNode& node, const Place& place) {
  if (add.scale == 0)
    reject(place.child("scale"), node.line, "is 0, so that nothing is added", "leave the row out");
  for (const ValueSpec& one : add.values) {
    const bool nothing =
        one.kind == ValueSpec::Kind::kZero ||
        (one.kind == ValueSpec::Kind::kVector &&
         std::all_of(one.numbers.begin(), one.numbers.end(), [](double x) { return x == 0; }));
    if (nothing)
      reject(place.child("value"), node.line, "adds zero, which changes nothing",
             "set the value, or leave the row out");
  }
}

template <class Action>
Fields<Action> action_fields() {
  return {
      field<Action, std::vector<BlockConfig>>(
          "block", &Action::block,
          at_most_one(checked(section(block_fields()), check_block_config)), "edges to block"),
      field<Action, std::vector<WriteConfig>>(
          "set", &Action::set, at_most_one(section(write_fields(false))), "a site's value to set"),
      field<Action, std::vector<WriteConfig>>(
          "add", &Action::add, at_most_one(checked(section(write_fields(true)), check_add)),
          "what to add to a site's value"),
  };
}

std::size_t count_of(const ActionConfig& action) {
  return action.block.size() + action.set.size() + action.add.size();
}

Fields<RowConfig> row_fields() {
  using R = RowConfig;
  Fields<R> fields = {field("name", &R::name,
                            word_or("made of what it does", std::string(), text()),
                            "what curves and tables call the row")};
  for (Field<R>& more : action_fields<R>()) fields.push_back(std::move(more));
  Form<ActionConfig> one = checked(
      section(action_fields<ActionConfig>()),
      [](const ActionConfig& action, const YamlNode& node, const Place& place) {
        if (count_of(action) != 1)
          reject(place, node.line, "expected exactly one of block, set and add");
        if (rows_of({action, "", {}}, {}).size() != 1)
          reject(place, node.line, "stands for several actions, one for each value of its lists",
                 "give one value each where actions act together, and a row for each combination");
      });
  Form<std::vector<ActionConfig>> together = list_of(one);
  together.write = [write = together.write](const std::vector<ActionConfig>& all, Purpose purpose) {
    return all.empty() ? std::optional<YamlNode>() : write(all, purpose);
  };
  fields.push_back(field("together", &R::together, together, "several actions in one run"));
  return fields;
}

void check_row(const RowConfig& row, const YamlNode& node, const Place& place) {
  if (count_of(row) + (row.together.empty() ? 0 : 1) != 1)
    reject(place, node.line, "expected exactly one of block, set, add and together");
}

void check_rows(const std::vector<RowConfig>& rows, const YamlNode& node, const Place& place) {
  std::map<std::string, std::size_t> seen;
  const bool is_list = node.kind == YamlNode::Kind::kList;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const RowSpec& row : rows_of(rows[i], {})) {
      const auto [first, is_new] = seen.emplace(row.name, i);
      if (!is_new)
        reject(is_list ? place.item(i) : place, is_list ? node.items[i].line : node.line,
               fmt::format("gives the row {} a second time, first in {}", in_quotes(row.name),
                           place.item(first->second).key),
               "remove one of them, or give it another name");
    }
}

Fields<ReferencesConfig> references_fields() {
  using R = ReferencesConfig;
  return {
      field<R, int>("prompts", &R::prompts,
                    word_or("16 or all", 0, whole_number<int>(1, kMostReferences)),
                    "how many prompts of the dataset lend values to `mean` and `resample`"),
      field<R, std::uint64_t>("seed", &R::seed,
                              whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                              "draws these prompts, the one that a prompt takes values of, and "
                              "noise"),
  };
}

Fields<InterveneConfig> intervene_fields() {
  using I = InterveneConfig;
  Fields<I> fields = {
      field("windows", &I::windows, section(windows_fields()), "", kRequired),
      field("rows", &I::rows, checked(list_of(row_form()), check_rows), "", kRequired),
      field("references", &I::references, section(references_fields()), ""),
      field("ranking", &I::ranking, ranking_form(),
            "prompts in which exp(A dt) is measured; usually 64, drawn by seed 1"),
      field<I, std::int64_t>(
          "prompts", &I::prompts,
          word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kMostPrompts)),
          "only the first N prompts of the set: maps of rows with `each` are stored one by one"),
  };
  for (Field<I>& more : whom_fields<I>()) fields.push_back(std::move(more));
  return fields;
}

// ---- rows

std::vector<ActionSpec> actions_of(const BlockConfig& block) {
  std::vector<ActionSpec> actions;
  for (const TokenGroup& to : block.to)
    for (const TokenGroup& from : block.from)
      for (const EdgeChannels& channels : block.channels)
        for (const Block::Through one : block.through)
          for (const Path path : block.path)
            actions.push_back(BlockSpec{from, to, one, channels.set, block.heads,
                                        block.channel_list, block.parts, path, block.erase,
                                        channels.happened});
  return actions;
}

std::vector<ActionSpec> actions_of(const WriteConfig& write, bool add) {
  std::vector<ActionSpec> actions;
  for (const Site one : write.sites)
    for (const TokenGroup& tokens : write.tokens)
      for (const ValueSpec& of : write.values)
        actions.push_back(WriteSpec{one, tokens, write.channel_list, of, add, write.scale});
  return actions;
}

std::vector<ActionSpec> actions_of(const ActionConfig& action) {
  if (!action.block.empty()) return actions_of(action.block[0]);
  if (!action.set.empty()) return actions_of(action.set[0], false);
  return action.add.empty() ? std::vector<ActionSpec>{} : actions_of(action.add[0], true);
}

}  // namespace

std::vector<RowSpec> rows_of(const RowConfig& row, const ReferencesConfig& references) {
  std::vector<RowSpec> rows;
  for (ActionSpec& action : actions_of(static_cast<const ActionConfig&>(row)))
    rows.push_back({"", {std::move(action)}});
  if (!row.together.empty()) {
    RowSpec& all = rows.emplace_back();
    for (const ActionConfig& action : row.together)
      all.together.push_back(actions_of(action).at(0));
  }
  for (RowSpec& one : rows) {
    one.seed = references.seed;
    one.name = name_of(one.together);
    if (!row.name.empty()) one.name = rows.size() == 1 ? row.name : row.name + ": " + one.name;
  }
  return rows;
}

Form<TokenGroup> token_group_form() {
  return text_form(
      "group of tokens", [](const std::string& given) { return parse_token_group(given); },
      [](const TokenGroup& group) { return to_string(group); });
}

Form<RowConfig> row_form() {
  return checked(section(row_fields()), check_row);
}

Form<std::vector<InterveneConfig>> intervene_form() {
  return one_or_several(section(intervene_fields()));
}

}  // namespace factflow
