#include "model/edit/optimise.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

namespace factflow {
namespace {

// A loss that changes by less where the value changes by its own size does not depend on it.
constexpr double kRoundings = 16;

// Adam (Kingma & Ba 2015, algorithm 1) on rows that know nothing of each other.
class Adam {
 public:
  Adam(const at::Tensor& like, double lr)
      : lr_(lr), mean_(at::zeros_like(like)), square_(at::zeros_like(like)) {}

  at::Tensor step(const at::Tensor& gradient) {
    constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
    ++steps_;
    mean_ = kBeta1 * mean_ + (1 - kBeta1) * gradient;
    square_ = kBeta2 * square_ + (1 - kBeta2) * gradient.square();
    const at::Tensor mean = mean_ / (1 - std::pow(kBeta1, steps_)),
                     square = square_ / (1 - std::pow(kBeta2, steps_));
    return -lr_ * mean / (square.sqrt() + kEpsilon);
  }

 private:
  double lr_;
  at::Tensor mean_, square_;
  int steps_ = 0;
};

void check(const EditRequest& request) {
  const auto inside = [](int token, const std::vector<int>& ids) {
    return token >= 0 && token < static_cast<int>(ids.size());
  };
  if (request.contexts.empty()) throw std::invalid_argument("an edit without contexts");
  if (request.target.empty()) throw std::invalid_argument("an edit without a target");
  if (!inside(request.subject_last, request.prompt) ||
      !inside(request.essence_subject_last, request.essence) ||
      (!request.continued.empty() && !inside(request.continued_subject_last, request.continued)))
    throw std::invalid_argument("the subject's last token is outside its prompt");
}

// A prompt of the loss.
struct Row {
  size_t fact = 0;
  PromptToken place;            // where the delta is added
  std::vector<int> target;      // empty: the essence prompt, whose next token there is looked at
  std::int64_t first = 0;       // where the target's first token is predicted
  double weight = 1;            // of the row in its fact's means
  ReferenceStream stream = {};  // that enters the edited layer
};

// What a batch's losses are read from: places (row, token) of its top, those of targets before
// those of essences. All indices are int64.
struct LossPlaces {
  at::Tensor rows, tokens;             // [targets + essences]
  at::Tensor ids;                      // [targets, 1]
  at::Tensor means_to, means;          // [targets]: its target row, and its weight there
  at::Tensor facts_to, facts;          // [target rows]: its fact, and its weight there
  at::Tensor essence_facts;            // [essences]
  std::vector<std::int64_t> essences;  // the same
};

// sums[to[i]] = the sum of values[i]: in the same order on every device, which index_add() is not.
at::Tensor sums_of(const at::Tensor& values, const at::Tensor& to, std::int64_t count) {
  return at::zeros({count}, values.options()).index_put({to}, values, /*accumulate=*/true);
}

// Sums over the batches so far; [facts] each, float64.
struct Losses {
  at::Tensor nll, prob, kl;
};

class Search {
 public:
  Search(const Network& network, const EditedValue& edited, std::span<const EditRequest> requests,
         const EditSettings& settings)
      : network_(network),
        forward_(network),
        edited_(edited),
        settings_(settings),
        found_(requests.size()),
        unedited_(requests.size()),
        searching_(requests.size(), true) {
    for (size_t fact = 0; fact < requests.size(); ++fact) add_rows(fact, requests[fact]);
    std::vector<PromptToken> places;
    std::vector<std::vector<int>> prompts;
    for (const Row& row : rows_) {
      places.push_back(row.place);
      prompts.push_back(row.place.ids);
    }
    values_ = edited.clean(places).to(at::kDouble);
    const std::vector<ReferenceStream> streams = forward_.streams(prompts, edited.at.layer);
    std::vector<at::Tensor> starts;
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].stream = streams[i];
      if (starts.size() == rows_[i].fact) starts.push_back(values_[static_cast<std::int64_t>(i)]);
    }
    start_ = at::stack(starts);
    start_norm_ = start_.norm(2, 1);
    delta_ = at::zeros_like(start_);
  }

  std::vector<OptimisedValue> run() {
    Adam adam(delta_, settings_.lr);
    for (int step = 0;; ++step) {
      const bool last = step >= settings_.iterations - 1;
      at::Tensor gradient = evaluate(/*differentiate=*/!last);
      for (size_t fact = 0; fact < found_.size(); ++fact)
        if (searching_[fact] && stops(step, found_[fact].trace.back())) finish(fact);
      if (rows_.empty()) return std::move(found_);
      if (step == 0) find_pulled(gradient);
      // Not a product: of a fact that is not a number nothing is moved either.
      gradient = at::where(pulled_, gradient, at::zeros_like(gradient));
      if (step == 0) keep_first(gradient);
      // Of facts that have stopped nothing is looked at any more.
      delta_ = clamped(delta_ + adam.step(gradient));
    }
  }

 private:
  void add_rows(size_t fact, const EditRequest& request) {
    check(request);
    check_tokens(network_, request.target);
    for (PromptToken& place : subject_places(request)) {
      const auto first = static_cast<std::int64_t>(place.ids.size()) - 1;
      place.ids = joined(std::move(place.ids), all_but_last(request.target));
      rows_.push_back({fact, std::move(place), request.target, first,
                       1 / static_cast<double>(request.contexts.size())});
    }
    rows_.push_back({fact, {request.essence, request.essence_subject_last}, {}});
  }

  std::int64_t facts() const { return static_cast<std::int64_t>(found_.size()); }

  LossPlaces places_of(const std::vector<size_t>& batch) const {
    std::vector<std::int64_t> rows, tokens, ids, to_row, to_fact, essence_rows, essence_tokens;
    std::vector<double> in_row, in_fact;
    std::vector<std::int64_t> essences;
    for (size_t i = 0; i < batch.size(); ++i) {
      const Row& row = rows_[batch[i]];
      const auto at = static_cast<std::int64_t>(i), fact = static_cast<std::int64_t>(row.fact);
      if (row.target.empty()) {
        essence_rows.push_back(at);
        essence_tokens.push_back(row.place.token);
        essences.push_back(fact);
        continue;
      }
      for (size_t k = 0; k < row.target.size(); ++k) {
        rows.push_back(at);
        tokens.push_back(row.first + static_cast<std::int64_t>(k));
        ids.push_back(row.target[k]);
        to_row.push_back(static_cast<std::int64_t>(to_fact.size()));
        in_row.push_back(1 / static_cast<double>(row.target.size()));
      }
      to_fact.push_back(fact);
      in_fact.push_back(row.weight);
    }
    rows.insert(rows.end(), essence_rows.begin(), essence_rows.end());
    tokens.insert(tokens.end(), essence_tokens.begin(), essence_tokens.end());
    const at::Device device = network_.device();
    const auto weights = [&](const std::vector<double>& of) {
      return at::tensor(of, at::kDouble).to(device);
    };
    return {indices_on(rows, device),
            indices_on(tokens, device),
            indices_on(ids, device).unsqueeze(1),
            indices_on(to_row, device),
            weights(in_row),
            indices_on(to_fact, device),
            weights(in_fact),
            indices_on(essences, device),
            essences};
  }

  // The batch's share of the sum over facts of the mean nll and the KL.
  at::Tensor loss(const LossPlaces& places, const at::Tensor& top, Losses& sums) {
    const at::Tensor log_p =
        forward_.logits(top.index({places.rows, places.tokens})).to(at::kDouble).log_softmax(1);
    const std::int64_t targets = places.ids.size(0);
    const at::Tensor of_places =
        -places.means * log_p.narrow(0, 0, targets).gather(1, places.ids).squeeze(1);
    const at::Tensor of_rows = sums_of(of_places, places.means_to, places.facts.size(0));
    const at::Tensor nll = sums_of(places.facts * of_rows, places.facts_to, facts());
    const at::Tensor kl = divergence(places, log_p.narrow(0, targets, log_p.size(0) - targets));
    sums.nll += nll.detach();
    sums.prob += sums_of(places.facts * (-of_rows.detach()).exp(), places.facts_to, facts());
    sums.kl += kl.detach();
    return nll.sum() + kl.sum();
  }

  // [facts], of log p [essences, vocabulary].
  at::Tensor divergence(const LossPlaces& places, const at::Tensor& now) {
    if (places.essences.empty()) return at::zeros({facts()}, now.options());
    std::vector<at::Tensor> first;
    for (size_t i = 0; i < places.essences.size(); ++i) {
      at::Tensor& unedited = unedited_[static_cast<size_t>(places.essences[i])];
      if (!unedited.defined()) unedited = now[static_cast<std::int64_t>(i)].detach().clone();
      first.push_back(unedited);
    }
    return settings_.kl_factor *
           sums_of((now.exp() * (now - at::stack(first))).sum(1), places.essence_facts, facts());
  }

  // Adds an evaluation to the trace of every fact; gives its gradient, [facts, width].
  at::Tensor evaluate(bool differentiate) {
    const at::AutoGradMode graph(differentiate);
    const at::Tensor delta = delta_.detach().clone().requires_grad_(differentiate);
    // libtorch's gradient of a norm at 0 is 0, which is what the definition wants.
    const at::Tensor norm = delta.norm(2, 1),
                     decay = settings_.weight_decay * norm / start_norm_.square();
    at::Tensor gradient;
    if (differentiate) gradient = torch::autograd::grad({decay.sum()}, {delta})[0];
    const at::Tensor none = at::zeros({facts()}, delta.options().requires_grad(false));
    Losses sums{none, none.clone(), none.clone()};
    std::vector<std::int64_t> lengths;
    for (const Row& row : rows_) lengths.push_back(row.stream.h.size(0));
    for (const std::vector<size_t>& batch : row_batches(lengths, network_.architecture())) {
      const at::Tensor more = evaluate(batch, delta, sums);
      if (differentiate) gradient = gradient + more;
    }
    keep_numbers(sums, decay.detach(), norm.detach());
    return gradient;
  }

  // The gradient of a batch's losses; undefined without a graph.
  at::Tensor evaluate(const std::vector<size_t>& batch, const at::Tensor& delta, Losses& sums) {
    std::vector<ReferenceStream> streams;
    std::vector<std::int64_t> rows, tokens;
    std::vector<std::int64_t> of_facts;
    for (const size_t i : batch) {
      of_facts.push_back(static_cast<std::int64_t>(rows_[i].fact));
      streams.push_back(rows_[i].stream);
      tokens.push_back(rows_[i].place.token);
      rows.push_back(static_cast<std::int64_t>(i));
    }
    const at::Device device = network_.device();
    // Not index_select(), whose gradient adds in any order on a GPU.
    const at::Tensor deltas = delta.index({indices_on(of_facts, device)});
    const at::Tensor written =
        edited_.written(values_.index_select(0, indices_on(rows, device)) + deltas)
            .to(network_.type());
    const RowWrite write{edited_.at, indices_on(tokens, device), written.detach()};
    const LossPlaces places = places_of(batch);
    const ReferenceStream h = padded(streams);
    const auto loss_of = [&](const at::Tensor& top) { return loss(places, top, sums); };
    if (!delta.requires_grad()) {
      loss_of(forward_.top(h, write));
      return {};
    }
    const at::Tensor gradient = forward_.gradient(h, write, loss_of);
    return torch::autograd::grad({written}, {delta}, {gradient})[0];
  }

  void keep_numbers(const Losses& sums, const at::Tensor& decay, const at::Tensor& norm) {
    const at::Tensor all =
        at::stack({sums.nll + sums.kl + decay, sums.nll, sums.kl, decay, sums.prob, norm}, 1)
            .cpu()
            .contiguous();
    for (size_t fact = 0; fact < found_.size(); ++fact) {
      const double* at = all.data_ptr<double>() + 6 * fact;
      if (searching_[fact])
        found_[fact].trace.push_back({at[0], at[1], at[2], at[3], at[4], at[5]});
    }
  }

  bool stops(int step, const EditStep& at) const {
    return at.loss < settings_.stop_loss || step >= settings_.iterations - 1 ||
           (settings_.stop_prob && step > settings_.stop_prob_after.value_or(-1) &&
            at.mean_prob > *settings_.stop_prob);
  }

  void finish(size_t fact) {
    searching_[fact] = false;
    const auto at = static_cast<std::int64_t>(fact);
    found_[fact].start = start_[at];
    found_[fact].delta = delta_[at].clone();
    std::vector<Row> left;
    std::vector<std::int64_t> kept;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i].fact == fact) continue;
      kept.push_back(static_cast<std::int64_t>(i));
      left.push_back(std::move(rows_[i]));
    }
    rows_ = std::move(left);
    if (!kept.empty()) values_ = values_.index_select(0, indices_on(kept, values_.device()));
  }

  // A value that reaches the answer through no layer (windows slide) has a gradient of rounding
  // alone. Adam would make whole steps of it, each pulled back by the decay, in a direction that
  // depends on the machine and on the facts beside it.
  void find_pulled(const at::Tensor& gradient) {
    const double epsilon = network_.type() == at::kDouble ? std::numeric_limits<double>::epsilon()
                                                          : std::numeric_limits<float>::epsilon();
    pulled_ = (gradient.norm(2, 1) * start_norm_ > kRoundings * epsilon).unsqueeze(1);
  }

  void keep_first(const at::Tensor& gradient) {
    for (size_t fact = 0; fact < found_.size(); ++fact)
      if (searching_[fact])
        found_[fact].first_gradient = gradient[static_cast<std::int64_t>(fact)].clone();
  }

  at::Tensor clamped(const at::Tensor& delta) const {
    const at::Tensor norm = delta.norm(2, 1), limit = settings_.clamp_factor * start_norm_;
    return at::where((norm > limit).unsqueeze(1), delta * (limit / norm).unsqueeze(1), delta);
  }

  const Network& network_;
  ReferenceRows forward_;
  const EditedValue& edited_;
  const EditSettings& settings_;
  std::vector<OptimisedValue> found_;  // per fact
  std::vector<at::Tensor> unedited_;   // per fact: log p [vocabulary] of the essence at delta = 0
  std::vector<bool> searching_;        // per fact
  std::vector<Row> rows_;              // of facts that are searched for
  at::Tensor values_;                  // [rows, width] of their clean runs
  at::Tensor start_, start_norm_;      // v0 [facts, width], [facts]
  at::Tensor delta_;                   // [facts, width]
  at::Tensor pulled_;                  // [facts, 1] whether the loss depends on the value at all
};

}  // namespace

std::vector<OptimisedValue> optimise(const Network& network, const EditedValue& edited,
                                     std::span<const EditRequest> requests,
                                     const EditSettings& settings) {
  if (requests.empty()) return {};
  return Search(network, edited, requests, settings).run();
}

void check_tokens(const Network& network, const std::vector<int>& ids) {
  const int vocabulary = network.architecture().vocabulary;
  for (const int id : ids)
    if (id < 0 || id >= vocabulary)
      throw std::invalid_argument(fmt::format("token {} of a vocabulary of {}", id, vocabulary));
}

std::vector<PromptToken> subject_places(const EditRequest& request) {
  std::vector<PromptToken> places;
  for (const std::vector<int>& context : request.contexts) {
    const bool alone = context.empty() || request.continued.empty();
    places.push_back({joined(context, alone ? request.prompt : request.continued),
                      static_cast<int>(context.size()) +
                          (alone ? request.subject_last : request.continued_subject_last)});
  }
  return places;
}

std::vector<int> joined(std::vector<int> ids, const std::vector<int>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

std::vector<int> all_but_last(std::vector<int> ids) {
  ids.pop_back();
  return ids;
}

}  // namespace factflow
