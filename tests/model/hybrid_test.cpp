// Mixtures, and models of several kinds of mixers: the engine against the float64 oracle and
// against the reference forward, on every path.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hybrid_configs.hpp"
#include "model/check_intervention.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/mixers/mixture/mixture.hpp"
#include "model/oracle_cases.hpp"
#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "random_checkpoint.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

// ---- the oracle's cases, which lie beside the project

struct Subject {
  std::string checkpoint, cases;
};

std::filesystem::path folder(const std::string& name) {
  return std::filesystem::path(source_dir()).parent_path() / "shared" / "oracle" /
         "cases_families" / name;
}

class HybridOracle : public testing::TestWithParam<Subject> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    if (!std::filesystem::exists(folder(GetParam().cases) / "cases.json"))
      GTEST_SKIP() << "no " << folder(GetParam().cases).string() << " here";
  }
  static std::unique_ptr<Network> load(Precision precision) {
    return Network::load(std::make_shared<const Checkpoint>(
                             Checkpoint::open(folder(GetParam().checkpoint).string())),
                         at::kCPU, precision);
  }
  static std::vector<OracleCase> cases(const Network& network) {
    const std::filesystem::path file = folder(GetParam().cases) / "cases.json";
    std::vector<OracleCase> all = read_oracle_cases(file, network.architecture().vocabulary);
    check_mixers(all, network.architecture(), file);
    return all;
  }
};

TEST_P(HybridOracle, EngineInBothPrecisions) {
  for (const Precision precision : {Precision::kFp64, Precision::kFp32}) {
    const auto network = load(precision);
    const std::vector<OracleCase> all = cases(*network);
    std::vector<ReplayRequest> requests;
    for (const OracleCase& one : all) requests.push_back(one.request);
    const std::vector<ReplayResult> results = ReplayEngine(*network, 0).run(requests);
    double worst = 0;
    int answers = 0, rerouted = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      worst =
          std::max(worst, oracle_error(std::exp(results[i].clean.log_probability), all[i].clean));
      for (size_t k = 0; k < all[i].probabilities.size(); ++k) {
        worst =
            std::max(worst, oracle_error(probability_of(results[i], k), all[i].probabilities[k]));
        rerouted += results[i].knockouts[k][0].rerouted > 0 ? 1 : 0;
        ++answers;
      }
    }
    std::cout << "| " << GetParam().checkpoint << " | " << to_string(precision) << " | " << answers
              << " | " << worst << " | rerouted " << rerouted << " |\n";
    const OracleTolerance limit = oracle_tolerance(network->architecture().family, precision);
    EXPECT_LE(worst, limit.value) << to_string(precision);
    EXPECT_EQ(rerouted > 0, network->architecture().routes());
  }
}

// Every eleventh knockout: a whole forward each.
TEST_P(HybridOracle, ReferenceForward) {
  const c10::InferenceMode inference;
  const auto network = load(Precision::kFp64);
  const ReferenceForward reference(*network);
  double worst = 0;
  for (const OracleCase& one : cases(*network)) {
    const auto probability = [&](const std::vector<Intervention>& interventions) {
      return std::exp(
          reference.log_probabilities(one.request.ids, interventions)[one.request.answer]
              .item<double>());
    };
    worst = std::max(worst, std::abs(probability({}) - one.clean));
    for (size_t k = 0; k < one.probabilities.size(); k += 11)
      worst = std::max(worst,
                       std::abs(probability(one.request.series[k].run(0)) - one.probabilities[k]));
  }
  EXPECT_LE(worst, 1e-10);
}

INSTANTIATE_TEST_SUITE_P(
    Families, HybridOracle,
    testing::Values(Subject{"mixtral", "mixtral"}, Subject{"qwen3_moe", "qwen3_moe"},
                    Subject{"bamba", "bamba"}, Subject{"granite_hybrid", "granite_hybrid"},
                    Subject{"granite_hybrid_moe", "granite_hybrid_moe"},
                    Subject{"falcon_h1", "falcon_h1"}, Subject{"falcon_h1_norm", "falcon_h1_norm"},
                    Subject{"nemotron_h", "nemotron_h"},
                    Subject{"nemotron_h_moe", "nemotron_h_moe"}, Subject{"jamba", "jamba"},
                    Subject{"jamba_moe", "jamba_moe"}, Subject{"qwen3_next", "qwen3_next"},
                    Subject{"qwen3_next_moe", "qwen3_next_moe"}, Subject{"qwen3_5", "qwen3_5"},
                    Subject{"qwen3_5_hub", "qwen3_5"}, Subject{"qwen3_5_moe", "qwen3_5_moe"},
                    Subject{"olmo_hybrid", "olmo_hybrid"}, Subject{"lfm2", "lfm2"},
                    Subject{"recurrent_gemma", "recurrent_gemma"}, Subject{"rwkv7", "rwkv7"},
                    Subject{"rwkv7_original", "rwkv7"}, Subject{"zamba2", "zamba2"}),
    [](const auto& test) { return test.param.checkpoint; });

// ---- random checkpoints

std::unique_ptr<Network> random_hybrid(const std::string& name, unsigned seed) {
  const TemporaryDirectory directory;
  const nlohmann::json config = small_hybrid_config(name);
  write_checkpoint(directory.path(), config, random_tensors(config, seed));
  return Network::load(
      std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())), at::kCPU,
      Precision::kFp64);
}

class Hybrid : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }
};

bool erases(const Architecture& architecture) {
  for (const LayerShape& layer : architecture.blocks)
    for (const BlockShape& block : layer)
      if (block.mixer->erases()) return true;
  return false;
}

// Edges of one token and of several, into the last and into tokens before it, on every path, with
// and without what sources erase.
std::vector<Block> blocks_of(const Architecture& architecture) {
  std::vector<Block> blocks;
  for (const Path path : {Path::kAttention, Path::kRecurrent, Path::kBoth}) {
    if (!architecture.has(path)) continue;
    for (const bool erase : {false, true}) {
      if (erase && (path == Path::kAttention || !erases(architecture))) continue;
      for (const auto& [targets, sources] :
           {std::pair<std::vector<int>, std::vector<int>>{{6}, {2, 3}},
            {{6}, {6}},
            {{3, 4, 6}, {1, 3}},
            {{2, 5}, {0}},
            {{0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4, 5, 6}}}) {
        Block block;
        block.targets = targets;
        block.sources = sources;
        block.path = path;
        block.erase = erase;
        blocks.push_back(block);
        if (path != Path::kRecurrent || architecture.channels(path) == 0) continue;
        block.selection = parse_channel_set("slow");
        blocks.push_back(block);
      }
    }
  }
  return blocks;
}

// Windows, where rows cut while their tokens mix, and layers apart, where they do not.
TEST_P(Hybrid, EngineAgreesWithReference) {
  const c10::InferenceMode inference;
  const auto network = random_hybrid(GetParam(), 5);
  const Architecture& architecture = network->architecture();
  const ReferenceForward reference(*network);
  ReplayRequest request{{3, 17, 8, 21, 0, 11, 26}, 4};
  for (const Block& block : blocks_of(architecture)) {
    request.series.push_back({{block}, std::vector<Window>{{0, 1}, {0, 2}, {1, 3}, {0, 3}}});
    Block apart = block;
    apart.layers = {0, 2};
    Block other = apart;
    other.layers = {1};
    other.sources = {0, 1};
    if (other.targets.front() >= 1 && !other.erase) {
      request.series.push_back({{apart, other}, std::nullopt});
      request.series.push_back({{apart}, std::nullopt});
    }
  }
  const ReplayResult result = ReplayEngine(*network, 0).run({&request, 1})[0];
  double worst = 0;
  int compared = 0;
  const auto compare = [&](const Answer& answer, const std::vector<Intervention>& interventions) {
    const at::Tensor log = reference.log_probabilities(request.ids, interventions);
    const double ours = answer.rank == 0 ? result.clean.log_probability : answer.log_probability;
    const double error = std::abs(ours - log[request.answer].item<double>());
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    ++compared;
  };
  compare(result.clean, {});
  for (size_t s = 0; s < request.series.size(); ++s)
    for (size_t run = 0; run < request.series[s].runs(); ++run)
      compare(result.knockouts[s][run], request.series[s].run(run));
  EXPECT_GT(compared, 30);
  EXPECT_LT(worst, 1e-9);
}

TEST_P(Hybrid, SitesAgreeWithReference) {
  const c10::InferenceMode inference;
  const auto network = random_hybrid(GetParam(), 6);
  const Architecture& architecture = network->architecture();
  const ReferenceForward reference(*network);
  ReplayRequest request{{3, 17, 8, 21, 0}, 4};
  const std::vector<int> other = {1, 2, 28, 21, 9};
  for (int layer = 0; layer < architecture.layers; ++layer)
    for (const Site site : sites_of(architecture.blocks[static_cast<size_t>(layer)])) {
      Write write;
      write.site = site;
      write.layers = {layer};
      write.tokens = {1, 4};
      write.value = OtherRun{other, {2, 3}};
      request.series.push_back({{write}, std::nullopt});
    }
  const ReplayResult result = ReplayEngine(*network, 0).run({&request, 1})[0];
  for (size_t s = 0; s < request.series.size(); ++s) {
    const auto& write = std::get<Write>(request.series[s].interventions[0]);
    const at::Tensor log = reference.log_probabilities(request.ids, request.series[s].run(0));
    EXPECT_NEAR(result.knockouts[s][0].log_probability, log[request.answer].item<double>(), 1e-9)
        << to_string(write.site) << " in layer " << write.layers[0];
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Hybrid, testing::ValuesIn(small_hybrids()),
                         [](const auto& test) { return test.param; });

// ---- the sites of two branches

TEST(Branches, EachHasSitesOfItsOwn) {
  using testing::IsSupersetOf;
  const Architecture falcon = read_architecture(small_hybrid_config("falcon_h1"), "config.json"),
                     zamba = read_architecture(small_hybrid_config("zamba2"), "config.json");
  EXPECT_THAT(sites_of(falcon.blocks[1]),
              IsSupersetOf({Site::kSAttention, Site::kSRecurrent, Site::kORawAttention,
                            Site::kORawRecurrent, Site::kOAttention, Site::kORecurrent}));
  EXPECT_THAT(sites_of(zamba.blocks[0]), IsSupersetOf({Site::kSAttention, Site::kSRecurrent,
                                                       Site::kOAttention, Site::kORecurrent}));
  const auto problem = [](const Architecture& of, SiteAt at) -> std::string {
    try {
      check_site(of, at);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(problem(falcon, {Site::kO, 1}), HasSubstr("falcon_h1 has no site o; it has"));
  EXPECT_THAT(problem(falcon, {Site::kO, 1}), HasSubstr("o.attention, o.recurrent"));
  EXPECT_THAT(problem(zamba, {Site::kO, 0}),
              HasSubstr("has no site o: its two branches have o.attention and o.recurrent"));
  EXPECT_THAT(problem(zamba, {Site::kOAttention, 1}),
              HasSubstr("layer 1 (mamba2) has no site o.attention: it has one branch, with o"));
  const Architecture bamba = read_architecture(small_hybrid_config("bamba"), "config.json");
  EXPECT_THAT(problem(bamba, {Site::kSRecurrent, 0}), HasSubstr("bamba has no site s.recurrent"));
  EXPECT_EQ(site_width(falcon.blocks[0], Site::kSAttention, 16), 24);
  EXPECT_EQ(site_width(falcon.blocks[0], Site::kOAttention, 16), 16);
  EXPECT_EQ(parse_site("o.recurrent"), Site::kORecurrent);
}

// h of the next layer is h of this one and all that its blocks add: both branches of Falcon-H1, and
// of Zamba2's the recurrent one, which alone reads what the other gives.
TEST(Branches, AddUpToTheStream) {
  const c10::InferenceMode inference;
  set_threads(1, 1);
  const std::vector<int> ids = {3, 17, 8, 21, 0};
  for (const char* name : {"falcon_h1", "zamba2"}) {
    const auto network = random_hybrid(name, 6);
    const bool falcon = std::string(name) == "falcon_h1";
    std::vector<SiteAt> reads = {
        {Site::kH, 0}, {Site::kORecurrent, 0}, {Site::kOAttention, 0}, {Site::kH, 1}};
    if (falcon) reads.push_back({Site::kMlp, 0});
    const auto sum_of = [&](const auto& value) {
      at::Tensor sum = value(reads[0]) + value(reads[1]);
      return falcon ? sum + value(reads[2]) + value(reads[4]) : sum;
    };
    const auto values = ReferenceForward(*network).run(ids, {}, reads).values;
    const auto of_reference = [&](SiteAt at) { return values.at(at); };
    EXPECT_LT((sum_of(of_reference) - of_reference(reads[3])).abs().max().item<double>(), 1e-12);
    ReplayRequest request{ids, 4};
    for (const SiteAt at : reads) request.reads.push_back({at, 3, std::nullopt});
    const ReplayResult result = ReplayEngine(*network, 0).run({&request, 1})[0];
    for (std::size_t i = 0; i < reads.size(); ++i) {
      const at::Tensor found = result.reads[i].value();
      EXPECT_LT((found - of_reference(reads[i])[3]).abs().max().item<double>(), 1e-11)
          << name << " " << to_string(reads[i].site);
    }
  }
}

// ---- edits

// What the shapes name is what the mixers have.
TEST_P(Hybrid, MatricesAreThoseOfTheShapes) {
  const auto network = random_hybrid(GetParam(), 6);
  const Architecture& architecture = network->architecture();
  for (int layer = 0; layer < architecture.layers; ++layer) {
    const LayerShape& shape = architecture.blocks[static_cast<size_t>(layer)];
    std::set<EditedMatrix> there;
    for (const LayerMatrixShape& one : matrices_of(shape)) {
      there.insert(one.matrix.name);
      const EditableMatrix matrix = network->editable(layer, one.matrix.name).matrix;
      EXPECT_EQ(matrix.value, one.matrix.value);
      EXPECT_EQ(matrix.key, one.matrix.key);
      EXPECT_EQ(matrix.rows, site_width(shape, matrix.value, architecture.hidden));
      EXPECT_EQ(matrix.columns, matrix.key ? site_width(shape, *matrix.key, architecture.hidden)
                                           : architecture.hidden);
    }
    for (const auto matrix : {EditedMatrix::kWa, EditedMatrix::kWxbc, EditedMatrix::kWg,
                              EditedMatrix::kWo, EditedMatrix::kWdown})
      if (!there.contains(matrix)) {
        EXPECT_THROW(network->editable(layer, matrix), std::invalid_argument)
            << to_string(matrix) << " " << layer;
      }
  }
}

// A matrix W + D gives at every token W k + D k: the edited model is the plain one with that
// written where the matrix's output stands; for the engine as well.
TEST_P(Hybrid, AnEditIsWhatItGivesAtItsSite) {
  const c10::InferenceMode inference;
  const auto network = random_hybrid(GetParam(), 6);
  const Architecture& architecture = network->architecture();
  const ReferenceForward reference(*network);
  const std::vector<int> ids = {3, 17, 8, 21, 0};
  std::vector<PromptToken> places;
  for (int t = 0; t < static_cast<int>(ids.size()); ++t) places.push_back({ids, t});
  const ReplayRequest request{ids, 4};
  const at::Tensor clean = reference.log_probabilities(ids);
  for (int layer = 0; layer < architecture.layers; ++layer)
    for (const LayerMatrixShape& one :
         matrices_of(architecture.blocks[static_cast<size_t>(layer)])) {
      SCOPED_TRACE(to_string(one.matrix.name) + " " + std::to_string(layer));
      const EditSlot slot(*network, one.matrix.name, layer);
      const SlotValues values = slot.values(places);
      EXPECT_LT((slot.applied(values.keys) - values.outputs).abs().max().item<double>(), 1e-12);
      const at::Tensor weight = slot.weight();
      const at::Tensor delta =
          0.1 * at::sin(at::arange(weight.numel(), at::kDouble)).reshape(weight.sizes());
      const at::Tensor given = slot.written(values.outputs + values.keys.matmul(delta.t()));
      std::vector<TensorWrite> writes;
      for (const PromptToken& place : places)
        writes.push_back({slot.edited().at, place.token, given[place.token]});
      const at::Tensor expected = reference.run(ids, {}, {}, writes).logits[4].log_softmax(0);
      EXPECT_GT((expected - clean).abs().max().item<double>(), 1e-6);
      const AppliedEdit applied(*network, slot, delta);
      EXPECT_LT((reference.log_probabilities(ids) - expected).abs().max().item<double>(), 1e-10);
      EXPECT_NEAR(ReplayEngine(*network, 0).run({&request, 1})[0].clean.log_probability,
                  expected[4].item<double>(), 1e-9);
    }
}

// ---- paths

TEST(Paths, ALayerWithoutTheMixerIsLeftAlone) {
  set_threads(1, 1);
  const auto network = random_hybrid("bamba", 3);  // attention in layer 1
  Block block;
  block.targets = {3};
  block.sources = {0, 1};
  block.path = Path::kAttention;
  const ReplayRequest request{{5, 9, 2, 7}, 3, {{{block}, std::vector<Window>{{0, 1}, {1, 2}}}}};
  const ReplayResult result = ReplayEngine(*network, 0).run({&request, 1})[0];
  const Answer &without = result.knockouts[0][0], &with = result.knockouts[0][1];
  EXPECT_TRUE(without.rank == 0 || without.log_probability == result.clean.log_probability);
  EXPECT_NE(with.log_probability, result.clean.log_probability);
}

TEST(Paths, ChannelsGoWithTheRecurrentPath) {
  const Architecture bamba = read_architecture(small_hybrid_config("bamba"), "config.json");
  EXPECT_EQ(bamba.channels(), 0);
  EXPECT_EQ(bamba.channels(Path::kRecurrent), 8);
  Block block;
  block.layers = {0, 1};
  block.selection = parse_channel_set("slow");
  EXPECT_THROW(check_intervention(bamba, block), std::invalid_argument);
  block.path = Path::kRecurrent;
  EXPECT_NO_THROW(check_intervention(bamba, block));
  block.erase = true;
  EXPECT_THROW(check_intervention(bamba, block), std::invalid_argument);
}

TEST(Paths, TwoMixersInALayerHaveTheirEdgesEach) {
  const Architecture falcon = read_architecture(small_hybrid_config("falcon_h1"), "config.json");
  Block block;
  block.layers = {0, 2};
  block.targets = {3};
  block.sources = {0, 1};
  EXPECT_EQ(blocked_edges(falcon, block), 8);
  block.path = Path::kAttention;
  EXPECT_EQ(blocked_edges(falcon, block), 4);
}

// The edges of Zamba2's attention are those of its shared block, of its hybrid layers alone.
TEST(Paths, SharedBlocksHaveTheEdgesOfTheirAttention) {
  const Architecture zamba = read_architecture(small_hybrid_config("zamba2"), "config.json");
  Block block;
  block.layers = {0, 1, 2};
  block.targets = {3};
  block.sources = {0, 1};
  EXPECT_EQ(blocked_edges(zamba, block), 10);
  block.path = Path::kAttention;
  EXPECT_EQ(blocked_edges(zamba, block), 4);
}

TEST(Paths, Rwkv7HasNoChannelsToChoose) {
  const Architecture rwkv = read_architecture(small_hybrid_config("rwkv7"), "config.json");
  Block block;
  block.layers = {0, 2};
  block.erase = true;
  EXPECT_NO_THROW(check_intervention(rwkv, block));
  block.selection = parse_channel_set("slow");
  EXPECT_THROW(check_intervention(rwkv, block), std::invalid_argument);
  block.selection = Heads{{0}};
  EXPECT_THROW(check_intervention(rwkv, block), std::invalid_argument);
}

// ---- routing

TEST(Routing, SharesAreOfAllExperts) {
  const at::Tensor logits = at::tensor({1.0, 3.0, 2.0, -1.0}, at::kDouble).unsqueeze(0);
  Routing routing;
  routing.experts = 4;
  routing.chosen = 2;
  const at::Tensor shares = logits.softmax(-1)[0];
  Routes routes = routes_of(logits, routing, {});
  EXPECT_EQ(routes.experts[0][0].item<int>(), 1);
  EXPECT_EQ(routes.experts[0][1].item<int>(), 2);
  EXPECT_DOUBLE_EQ(routes.weights[0][0].item<double>(), shares[1].item<double>());
  routing.normalised = true;
  routes = routes_of(logits, routing, {});
  EXPECT_NEAR(routes.weights.sum().item<double>(), 1, 1e-15);
  routing.weights = Routing::Weights::kChosen;
  routes = routes_of(logits, routing, {});
  EXPECT_NEAR(routes.weights[0][0].item<double>(), 1 / (1 + std::exp(-1.0)), 1e-15);
}

// The best expert of all is in a group that is not among the best, so it cannot be chosen; the bias
// decides who is chosen and not what he weighs.
TEST(Routing, GroupsAndBias) {
  const at::Tensor logits = at::tensor({5.0, -9.0, 2.0, 2.0, 1.0, 1.5}, at::kDouble).unsqueeze(0);
  Routing routing;
  routing.weights = Routing::Weights::kScores;
  routing.experts = 6;
  routing.chosen = 1;
  routing.groups = 3;
  routing.chosen_groups = 1;
  const at::Tensor bias = at::tensor({0.0, 0.0, 0.0, 0.2, 0.0, 0.0}, at::kDouble);
  const Routes routes = routes_of(logits, routing, bias);
  EXPECT_EQ(routes.experts[0][0].item<int>(), 3);
  EXPECT_NEAR(routes.weights[0][0].item<double>(), 1 / (1 + std::exp(-2.0)), 1e-15);
}

// ---- configurations

TEST(HybridConfigs, RefusalsNameTheKey) {
  const auto read = [](const char* model, const char* change) {
    nlohmann::json config = small_hybrid_config(model);
    config.update(nlohmann::json::parse(change));
    return [config] { read_architecture(config, "config.json"); };
  };
  const std::vector<std::tuple<const char*, const char*, const char*>> refusals = {
      {"bamba", R"({"attn_layer_indices": [3]})", "attn_layer_indices: expected layers 0 to 2"},
      {"bamba", R"({"rope_parameters": {"rope_type": "yarn"}})", "only default is supported"},
      {"bamba", R"({"hidden_act": "gelu"})", "hidden_act: only"},
      {"granite_hybrid", R"({"layer_types": ["mamba", "mlp", "mamba"]})", "layer_types"},
      {"granite_hybrid", R"({"position_embedding_type": "alibi"})", "position_embedding_type"},
      {"falcon_h1", R"({"ssm_multipliers": [1.0]})", "ssm_multipliers: expected 5 numbers"},
      {"falcon_h1", R"({"mamba_n_groups": 3})", "mamba_n_groups: expected a divisor"},
      {"nemotron_h", R"({"hybrid_override_pattern": "M-x"})", "found 'x'"},
      {"nemotron_h", R"({"topk_group": 1, "num_experts_per_tok": 3})", "topk_group: leaves 2"},
      {"jamba", R"({"attn_layer_offset": 3})", "attn_layer_offset: expected less than the period"},
      {"mixtral", R"({"num_experts_per_tok": 5})", "num_experts_per_tok: expected 1 to 4"},
      {"qwen3_next", R"({"linear_num_key_heads": 3})", "linear_num_key_heads: expected a divisor"},
      {"qwen3_5", R"({"attn_windows": 3})", "attn_windows: is not known"},
      {"rwkv7", R"({"attn": {"layers": [1]}})", "attn: layers of attention"},
      {"rwkv7", R"({"value_dim": [12, 12, 8]})", "value_dim: only hidden_size = 12"},
      {"rwkv7", R"({"norm_first": false})", "norm_first: only"},
      {"rwkv7", R"({"head_dim": 5})", "head_dim: expected a divisor of hidden_size"},
      {"rwkv7", R"({"auto_map": {"AutoModel": "mine.Model"}})", "auto_map: says"},
      {"zamba2", R"({"layers_block_type": ["hybrid", "attention", "mamba"]})",
       "layers_block_type: expected mamba or hybrid"},
      {"zamba2", R"({"num_attention_heads": 3})", "num_attention_heads: expected a divisor"},
      {"zamba2", R"({"num_key_value_heads": 2})", "num_key_value_heads: adapters"},
      {"zamba2", R"({"use_long_context": true})", "use_long_context: only"},
      // What transformers' class refuses, or reads as no other one does.
      {"mixtral", R"({"num_key_value_heads": null})", "num_key_value_heads: is null"},
      {"qwen3_moe", R"({"head_dim": null})", "head_dim: is null"},
      {"bamba", R"({"partial_rotary_factor": 0.25})", "partial_rotary_factor: only 0.5"},
      {"mixtral", R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor: only 1 is"},
      {"lfm2", R"({"rope_theta": null})", "rope_theta: is null"},
      {"lfm2", R"({"rope_theta": 5.0, "rope_parameters": {"rope_theta": 7.0}})",
       "rope_parameters.rope_theta: is 7, but rope_theta outside is 5"},
      {"lfm2", R"({"rope_scaling": {"type": "default"}, "rope_parameters": {"rope_theta": 7.0}})",
       "rope_scaling: stands beside rope_parameters"},
      {"nemotron_h", R"({"mlp_bias": true})", "mlp_bias: is not supported in a model with experts"},
  };
  for (const auto& [model, change, problem] : refusals)
    EXPECT_THAT(input_error_of(read(model, change)), HasSubstr(problem)) << model << change;
}

TEST(HybridConfigs, RefusesADefaultThatDoesNotFitTheRest) {
  nlohmann::json config = small_hybrid_config("qwen3_5_moe");
  config.erase("num_experts_per_tok");
  EXPECT_THAT(input_error_of([&] { read_architecture(config, "config.json"); }),
              HasSubstr("num_experts_per_tok: expected 1 to 4, found 8, the family's default"));
}

TEST(HybridConfigs, NemotronWithoutAListHasItsClassesFourLayers) {
  nlohmann::json config = small_hybrid_config("nemotron_h");
  config.erase("layers_block_type");
  config.erase("hybrid_override_pattern");
  const Architecture architecture = read_architecture(config, "config.json");
  ASSERT_EQ(architecture.layers, 4);
  std::vector<std::string> names;
  for (const LayerShape& layer : architecture.blocks) names.push_back(layer.at(0).mixer->name());
  EXPECT_THAT(names, testing::ElementsAre("mamba2", "mixture", "attention", "mlp"));
}

}  // namespace
}  // namespace factflow
