// A family that the program does not know: layers of attention alone, without an MLP and without
// positions, whose share of the residual stream is scaled. Tests link it through a table of their
// own (tests/family_table.cpp).
#include "tests/toy_family/toy_family.hpp"

#include <cmath>

#include <fmt/format.h>

#include "model/mixers/attention/attention.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

Architecture read(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.integer("width");
  architecture.layers = config.integer("depth");
  architecture.vocabulary = config.integer("words");
  AttentionShape attention;
  attention.heads = attention.key_heads = config.integer("heads");
  if (architecture.hidden % attention.heads != 0)
    config.fail("heads", fmt::format("expected a divisor of width = {}", architecture.hidden));
  attention.head_size = architecture.hidden / attention.heads;
  attention.scale = 1 / std::sqrt(attention.head_size);
  BlockShape block{std::make_shared<AttentionShape>(attention)};
  block.scale = config.number("share", 1.0);
  architecture.blocks.assign(static_cast<size_t>(architecture.layers), {block});
  return architecture;
}

TensorTable tensors(const Architecture& architecture) {
  const std::int64_t width = architecture.hidden;
  TensorTable table;
  table.prefix = "toy.";
  table.entries = {{"toy.norm", {width}}};
  add_embedding_and_head(table, architecture, "toy.words", "toy.answers");
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("toy.{}.", i);
    table.entries.push_back({layer + "norm", {width}});
    table.entries.push_back({layer + "reads", {3 * width, width}});
    table.entries.push_back({layer + "writes", {width, width}});
    table.entries.push_back({layer + "bias", {width}});
  }
  return table;
}

NetworkParts parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name), {}, architecture.norm_epsilon, false};
  };
  NetworkParts parts{"toy.words", "toy.answers", "", norm("toy.norm")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("toy.{}.", i);
    AttentionWeights attention;
    attention.query_key_value = weights.projection(layer + "reads");
    attention.output = {weights.projection(layer + "writes"), weights.take(layer + "bias"), true};
    parts.layers.emplace_back().push_back(
        {norm(layer + "norm"), std::make_unique<AttentionMixer>(
                                   architecture.mixer<AttentionShape>(i), std::move(attention))});
  }
  return parts;
}

}  // namespace

Family toy_family() {
  return {"toy", read, tensors, parts};
}

}  // namespace factflow
