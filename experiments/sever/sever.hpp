// Path-specific effects: h of the clean run at one token, in the run of the same words about
// another subject, while some sites at that token are kept in all layers above as they are without
// the patch. What the patch loses then went through these sites (Sharma et al. 2024, section 3;
// Meng et al. 2022, section 2.3). docs/locate.md.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/sever/sever_arrays.hpp"
#include "model/intervention.hpp"

namespace factflow {

const ExperimentKind& sever_kind();

using SeveredSites = std::vector<Site>;            // cut together; ascending, each once
std::string to_string(const SeveredSites& sites);  // "o+mlp"; kNothingSevered for none

struct SeverConfig : Entry {
  std::vector<SeveredAt> at = {SeveredAt::kSubjectLast, SeveredAt::kPromptLast};
  std::vector<SeveredSites> sever = {};  // empty: those of sites_to_sever()
  int candidates = 8;                    // other subjects that are tried for one of as many tokens
  std::uint64_t seed = 1;
  bool operator==(const SeverConfig&) const = default;
};
Form<std::vector<SeverConfig>> sever_form();

// What the paper severs, as far as every layer of a model has it: s, g, o of a Mamba; o, mlp and
// both of a Transformer.
std::vector<SeveredSites> sites_to_sever(const Architecture& architecture);

}  // namespace factflow
