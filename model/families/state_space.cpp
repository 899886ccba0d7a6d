#include "model/families/state_space.hpp"

#include <fmt/format.h>

#include "model/families/family.hpp"

namespace factflow {

TensorTable state_space_table(const Architecture& architecture) {
  TensorTable table;
  table.prefix = "backbone.";
  table.entries = {{"backbone.norm_f.weight", {architecture.hidden}}};
  table.renamed = {{"backbone.embedding.weight", "backbone.embeddings.weight"}};
  add_embedding_and_head(table, architecture, "backbone.embeddings.weight", "lm_head.weight");
  return table;
}

Architecture read_mamba_ssm(ConfigReader& config) {
  Architecture architecture;
  architecture.mamba_ssm = true;
  architecture.hidden = config.size("d_model", 2560);
  architecture.layers = config.layer_count("n_layer", 64);
  const int multiple = config.integer("pad_vocab_size_multiple", 8);
  architecture.vocabulary = (config.size("vocab_size", 50277) + multiple - 1) / multiple * multiple;
  architecture.tied_head = config.flag("tie_embeddings", true);
  config.expect("d_intermediate", 0);
  config.expect("rms_norm", true);
  config.expect_or_null("attn_layer_idx", nlohmann::json::array());
  config.expect_or_null("attn_cfg", nlohmann::json::object());
  config.ignore_unless_null({"residual_in_fp32", "fused_add_norm"});
  static const nlohmann::json kEmpty = nlohmann::json::object();
  const nlohmann::json& found = config.raw("ssm_cfg");
  ConfigReader ssm(found.is_null() ? kEmpty : found, config.file(), "ssm_cfg.");
  const std::string layer = ssm.word("layer", "Mamba1");
  if (layer != "Mamba1" && layer != "Mamba2")
    ssm.fail("layer", fmt::format("expected Mamba1 or Mamba2, found '{}'", layer));
  architecture = layer == "Mamba1" ? read_mamba_ssm_1(ssm, std::move(architecture))
                                   : read_mamba_ssm_2(ssm, std::move(architecture));
  ssm.finish();
  return architecture;
}

}  // namespace factflow
