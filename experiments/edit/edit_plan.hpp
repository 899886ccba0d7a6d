// What the kind `edit` sends between ranks and keeps in the journal: what is asked of a model, and
// what is found about a prompt.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <cereal/types/utility.hpp>

#include "experiments/bytes.hpp"
#include "experiments/edit/edit.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/edit/fact_pool.hpp"
#include "model/edit/key_covariance.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, MemitConfig& m) {
  archive(m.facts, m.weight);
}
template <class Archive>
void serialize(Archive& archive, EditSearch& s) {
  archive(s.iterations, s.lr, s.weight_decay, s.clamp_factor, s.kl_factor, s.stop_loss,
          s.stop_probability, s.stop_probability_after);
}
template <class Archive>
void serialize(Archive& archive, EditContexts& c) {
  archive(c.count, c.tokens);
}
template <class Archive>
void serialize(Archive& archive, KeyText& k) {
  archive(k.text.source, k.text.file, k.tokens, k.shrinkage);
}
// What all edits of a model have in common: not for whom they are, nor which they are.
template <class Archive>
void serialize(Archive& archive, EditConfig& c) {
  archive(c.memit, c.search, c.contexts, c.covariance, c.paraphrases, c.neighbours, c.others,
          c.save, c.seed);
}

// What is edited at once.
struct EditPlace {
  EditMethod method = EditMethod::kRome;
  EditedMatrix matrix = EditedMatrix::kWo;
  std::vector<std::int32_t> layers;  // ascending; of ROME one
  struct Size {
    std::int64_t in = 0, out = 0;
    bool operator==(const Size&) const = default;
  } size;  // of the matrix of each layer
  bool operator==(const EditPlace&) const = default;

  bool together() const { return method == EditMethod::kMemit; }  // facts, not each by itself
  // Numbers of the factors of one fact: a vector for each layer.
  std::int64_t in() const { return size.in * static_cast<std::int64_t>(layers.size()); }
  std::int64_t out() const { return size.out * static_cast<std::int64_t>(layers.size()); }
};

struct EditPlan {
  std::vector<EditPlace> places;  // the items
  EditConfig config;
  FactPool pool;
  std::int32_t layers = 0;

  std::size_t questions() const {
    return 1 + static_cast<std::size_t>(config.paraphrases + config.neighbours);
  }
  std::size_t others() const {
    return std::size(kOtherFacts) * static_cast<std::size_t>(config.others);
  }
  // Places on the axes of questions and of other facts.
  std::size_t place_of(EditQuestion kind, std::int32_t number) const {
    const auto n = static_cast<std::size_t>(number);
    if (kind == EditQuestion::kRewrite) return 0;
    const auto paraphrases = static_cast<std::size_t>(config.paraphrases);
    return 1 + n + (kind == EditQuestion::kNeighbour ? paraphrases : 0);
  }
  std::size_t place_of(OtherFact kind, std::int32_t number) const {
    return static_cast<std::size_t>(kind) * static_cast<std::size_t>(config.others) +
           static_cast<std::size_t>(number);
  }
  std::string name(std::size_t item) const {
    const EditPlace& place = places.at(item);
    return edit_name(to_string(place.method), to_string(place.matrix), place.layers);
  }
};
template <class Archive>
void serialize(Archive& archive, EditPlace& p) {
  archive(p.method, p.matrix, p.layers, p.size.in, p.size.out);
}
template <class Archive>
void serialize(Archive& archive, EditPlan& p) {
  archive(p.places, p.config, p.pool.prompts, p.pool.seed, p.layers);
}

// What is found about one fact. Per question and per other fact, in the order of `questions` and
// `others`.
struct JudgedAnswers {
  std::vector<float> new_nll, true_nll;
  std::vector<std::int32_t> new_greedy, true_greedy;
};
template <class Archive>
void serialize(Archive& archive, JudgedAnswers& j) {
  archive(j.new_nll, j.true_nll, j.new_greedy, j.true_greedy);
}

struct EditFound {
  bool finite = false;
  std::int32_t steps = 0, clamped = 0;
  float loss = 0, nll = 0, kl = 0, mean_prob = 0, delta_norm = 0, value_norm = 0;
  float key_product = 0, update_norm = 0;
  JudgedAnswers after;
  std::vector<float> other_log_change, other_kl;
  std::vector<std::int32_t> other_top_changed;
  std::vector<float> u, r;  // where they are kept: [layer, in], [layer, out]
};
template <class Archive>
void serialize(Archive& archive, EditFound& f) {
  archive(f.finite, f.steps, f.clamped, f.loss, f.nll, f.kl, f.mean_prob, f.delta_norm,
          f.value_norm, f.key_product, f.update_norm, f.after, f.other_log_change, f.other_kl,
          f.other_top_changed, f.u, f.r);
}

struct PromptEdits {
  std::int64_t group = kAlone;  // id of the first of the facts that were written together
  std::string essence;
  std::int32_t subject_last = 0;
  std::vector<std::int32_t> tokens, new_tokens, true_tokens;
  std::vector<std::pair<EditQuestion, std::int32_t>> questions;  // kind and number
  std::vector<std::string> texts;
  JudgedAnswers before;
  std::vector<std::pair<OtherFact, std::int32_t>> others;
  std::vector<std::int64_t> other_ids;
  std::vector<float> other_log_before;
  std::vector<EditFound> edits;  // [asked]
  // Of the model, the same for all prompts.
  std::vector<std::vector<std::int32_t>> contexts;
  std::vector<std::string> context_texts;
  std::string context_start;
  std::int64_t covariance_tokens = 0;
  std::uint64_t covariance_digest = 0;
};
template <class Archive>
void serialize(Archive& archive, PromptEdits& p) {
  archive(p.group, p.essence, p.subject_last, p.tokens, p.new_tokens, p.true_tokens, p.questions,
          p.texts, p.before, p.others, p.other_ids, p.other_log_before, p.edits, p.contexts,
          p.context_texts, p.context_start, p.covariance_tokens, p.covariance_digest);
}

}  // namespace factflow
