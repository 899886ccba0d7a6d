#include "experiments/sweep/sweep_edges.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/check_intervention.hpp"

namespace factflow {
namespace {

// What the model's heads or channels of a part are. Without any: the model cannot have the part.
void take_part(const PartName& name, const ModelToPlan& model, const std::string& key,
               EdgeSpec& edge) {
  edge.part = to_string(name);
  try {
    const Divisible among = divisible_of(model.architecture);
    edge.what = among.what;
    if (const auto part = part_called(name, among)) edge.indices = part->indices;
  } catch (const std::invalid_argument& error) {
    throw InputError(
        model.file.string(),
        fmt::format("key {}: model {} has no {}: {}", key, model.name, edge.part, error.what()),
        "leave it out, or give the model an entry of its own with models: [...]");
  }
}

// A line of `knockouts`, with the models that it is for.
struct Line {
  const KnockoutConfig& knockout;
  std::string key, parts_key;  // of the line, and as edges_of() takes it
  std::vector<const ModelOfRun*> models;
};

std::vector<Line> lines_of(const Entries& sweeps, std::span<const ModelOfRun> models) {
  std::vector<Line> lines;
  for (std::size_t i = 0; i < sweeps.size(); ++i) {
    const auto& sweep = static_cast<const SweepConfig&>(*sweeps[i]);
    const auto key = [&](const std::string& name) {
      return key_in_entry(sweep_kind().section(), i, sweeps.size(), name);
    };
    std::vector<const ModelOfRun*> whom;
    for (const ModelOfRun& one : models)
      if (is_for(sweep, one.model.name)) whom.push_back(&one);
    for (std::size_t k = 0; k < sweep.knockouts.size(); ++k)
      lines.push_back(
          {sweep.knockouts[k],
           sweep.knockouts.size() == 1 ? key("knockouts") : key(fmt::format("knockouts[{}]", k)),
           key("knockouts.parts"), whom});
  }
  return lines;
}

// Which key of a line asks for what the model cannot have, and what it has instead.
struct Lack {
  std::string key, asked, found;
};

Lack lack_of(const EdgeSpec& edge, const Architecture& architecture) {
  if (!architecture.has(edge.path))
    return {"path", to_string(edge.path), "mix tokens by " + architecture.mixing()};
  if (!edge.part.empty()) return {"parts", edge.part, "have no such heads or channels"};
  return {"channels", to_string(edge.channels),
          architecture.channels(edge.path) == 0
              ? "have no channels or heads with a decay there"
              : fmt::format("have too few channels or heads there ({})",
                            architecture.channels(edge.path))};
}

bool has_any(const EdgeSpec& edge, const Architecture& architecture) {
  return can_have(edge, architecture) &&
         (edge.channels.kind == ChannelSet::Kind::kAll ||
          !is_empty(edge.channels, architecture.channels(edge.path)));
}

// An edge that some model can have, and whether some prompt has it.
struct Wanted {
  const Line* line;
  EdgeSpec edge;
  bool known = true, found = false;
};

// The edges of a line that its models can have, each once whatever its channels are: these have no
// part in whether a prompt has it. Throws for one that none can have.
std::vector<Wanted> wanted_of(const Line& line) {
  std::vector<Wanted> wanted;
  if (line.models.empty()) return wanted;
  std::vector<std::vector<EdgeSpec>> edges;  // [model], all of the same length
  for (const ModelOfRun* one : line.models)
    edges.push_back(edges_of(line.knockout, one->model, line.parts_key));
  for (std::size_t e = 0; e < edges.front().size(); ++e) {
    bool any = false;
    for (std::size_t m = 0; m < edges.size() && !any; ++m)
      any = has_any(edges[m][e], line.models[m]->model.architecture);
    const EdgeSpec& edge = edges.front()[e];
    if (!any) {
      const ModelToPlan& model = line.models.front()->model;
      const Lack lack = lack_of(edge, model.architecture);
      throw InputError(model.file.string(),
                       fmt::format("key {}.{}: {} blocks no edge: the models that it is for {}",
                                   line.key, lack.key, lack.asked, lack.found),
                       "leave it out; `factflow check MODEL` says what a model has");
    }
    const bool again = std::any_of(wanted.begin(), wanted.end(), [&](const Wanted& one) {
      return one.edge.from == edge.from && one.edge.to == edge.to && one.edge.path == edge.path;
    });
    if (!again) wanted.push_back({&line, {edge.from, edge.to, {}, edge.path}});
  }
  return wanted;
}

bool is_asked_of(const Wanted& wanted, const ModelOfRun& one) {
  const auto& models = wanted.line->models;
  return std::find(models.begin(), models.end(), &one) != models.end() &&
         one.model.architecture.has(wanted.edge.path);
}

// Looks at prompts of the model until each edge has been found in one.
void look_for(const ModelOfRun& one, std::vector<Wanted>& all) {
  std::vector<Wanted*> missing;
  for (Wanted& wanted : all) {
    if (wanted.found || !is_asked_of(wanted, one)) continue;
    wanted.known = wanted.known && static_cast<bool>(one.tokens);
    missing.push_back(&wanted);
  }
  if (!one.tokens) return;
  bool usable = false;
  for (std::size_t p = 0; p < one.model.prompts.size() && !missing.empty(); ++p) {
    const std::optional<TokenizedPrompt> prompt = one.tokens(one.model.prompts[p]);
    if (!prompt) continue;
    usable = true;
    std::erase_if(missing, [&](Wanted* wanted) {
      const std::vector<std::int32_t> lost =
          edges_lost(wanted->edge, *prompt, one.model.architecture);
      wanted->found = std::any_of(lost.begin(), lost.end(), [](std::int32_t n) { return n > 0; });
      return wanted->found;
    });
  }
  if (!usable)
    for (Wanted* wanted : missing) wanted->known = false;
}

}  // namespace

std::vector<EdgeSpec> edges_of(const KnockoutConfig& knockout, const ModelToPlan& model,
                               const std::string& key) {
  std::vector<EdgeSpec> edges;
  for (const TokenRole to : knockout.to)
    for (const TokenRole from : knockout.from) {
      for (const ChannelSet& channels : knockout.channels)
        for (const Path path : knockout.path) edges.push_back({from, to, channels, path});
      for (const PartName& part : knockout.parts)
        for (const Path path : knockout.path)
          take_part(part, model, key, edges.emplace_back(EdgeSpec{from, to, {}, path}));
    }
  return edges;
}

bool can_have(const EdgeSpec& edge, const Architecture& architecture) {
  if (!architecture.has(edge.path)) return false;
  if (!edge.part.empty()) return !edge.indices.empty();
  return edge.channels.kind == ChannelSet::Kind::kAll || architecture.channels(edge.path) > 0;
}

std::vector<std::int32_t> edges_lost(const EdgeSpec& edge, const TokenizedPrompt& prompt,
                                     const Architecture& architecture) {
  Block block = knockout(positions_of(edge.to, prompt), positions_of(edge.from, prompt), {}, {});
  block.path = edge.path;
  const std::vector<std::int64_t> edges = edges_by_layer(architecture, block);
  return {edges.begin(), edges.end()};
}

void refuse_what_blocks_nothing(const Entries& sweeps, std::span<const ModelOfRun> models) {
  const std::vector<Line> lines = lines_of(sweeps, models);
  std::vector<Wanted> all;
  for (const Line& line : lines)
    for (Wanted& wanted : wanted_of(line)) all.push_back(std::move(wanted));
  for (const ModelOfRun& one : models) look_for(one, all);
  for (const Wanted& wanted : all)
    if (wanted.known && !wanted.found) {
      const ModelToPlan& model = wanted.line->models.front()->model;
      throw InputError(
          model.file.string(),
          fmt::format("key {}: {} blocks no edge in any of {}: no target reads such a source",
                      wanted.line->key, label_of(wanted.edge),
                      counted(model.prompts.size(), "prompt")),
          "leave it out: an edge leads from a token to itself or to a later one, within the reach "
          "of the layers");
    }
}

}  // namespace factflow
