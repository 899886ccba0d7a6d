// The section `edit` of a configuration.
#include <limits>
#include <utility>

#include "experiments/edit/edit.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/forms.hpp"
#include "experiments/text_documents.hpp"

namespace factflow {
namespace {

constexpr double kLargest = 1e6;
constexpr int kMostLayers = 1 << 20, kMostIterations = 10000, kMostContexts = 1000;
constexpr int kMostTokens = 4096, kMostQuestions = 1000;
constexpr double kRomesStop = 0.9, kNoStop = 1;  // probabilities
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

Fields<EditSearch> search_fields() {
  using S = EditSearch;
  return {
      field("iterations", &S::iterations, whole_number<int>(1, kMostIterations),
            "evaluations of the loss at most; one less steps of Adam"),
      field("lr", &S::lr, number(1e-9, kLargest), "learning rate of Adam"),
      field("weight_decay", &S::weight_decay, number(0, kLargest),
            "weight of the change's norm over the squared norm of the value"),
      field("clamp_factor", &S::clamp_factor, number(1e-9, kLargest),
            "the change's norm is at most so many times the value's"),
      field("kl_factor", &S::kl_factor, number(0, kLargest),
            "weight of the divergence after a prompt of the subject that shall stay"),
      field("stop_loss", &S::stop_loss, number(0, kLargest), "the search ends below this loss"),
      field("stop_probability", &S::stop_probability,
            word_or("usual", EditSearch::kUsualStop, number(0, 1)),
            "and above this mean probability of the new answer; 1 = this ends nothing; usual: 0.9 "
            "of rome, 1 of memit"),
      field("stop_probability_after", &S::stop_probability_after,
            whole_number<int>(0, kMostIterations),
            "but not before the iteration after this one, counted from 0"),
  };
}

Fields<EditContexts> context_fields() {
  using C = EditContexts;
  return {
      field("count", &C::count, whole_number<int>(0, kMostContexts),
            "texts that the unedited model writes, which stand before the prompt in turn"),
      field("tokens", &C::tokens, list_of(whole_number<int>(1, kMostTokens)),
            "their lengths, in turn"),
  };
}

Form<KeyText::Origin> text_origin() {
  using Origin = KeyText::Origin;
  using Source = KeyText::Source;
  static const std::vector<std::pair<std::string, Source>> words = {
      {"sampled", Source::kSampled}, {"dataset", Source::kDataset}, {"none", Source::kNone}};
  const std::string type = "sampled | dataset | none, or the path of a text file";
  return {type,
          [type](const YamlNode& node, const Place& place) {
            const std::string given = read_text(node, place, type);
            for (const auto& [word, source] : words)
              if (given == word) return Origin{source};
            return Origin{Source::kFile, file_beside(place, given)};
          },
          [](const Origin& origin, Purpose) {
            for (const auto& [word, source] : words)
              if (origin.source == source) return YamlNode::of_text(word);
            return YamlNode::of_text(origin.file);
          }};
}

Fields<KeyText> covariance_fields() {
  using K = KeyText;
  return {
      field("text", &K::text, text_origin(),
            "whose keys shall stay: sampled by the model, the dataset's prompts, a file with a "
            "document a line, or none: all directions alike"),
      field<K, std::int64_t>(
          "tokens", &K::tokens,
          word_or("usual", std::int64_t{0}, whole_number<std::int64_t>(1, kMost)),
          "of that text; usual: ten for each number of a key, or all that there are"),
      field("shrinkage", &K::shrinkage, number(0, 1),
            "share of a multiple of the unit matrix, for texts of few tokens"),
  };
}

Form<EditedMatrix> matrix() {
  return text_form(
      "W_a | W_g | W_xbc | W_o | W_down",
      [](const std::string& given) { return parse_edited_matrix(given); },
      [](EditedMatrix one) { return to_string(one); });
}

Fields<MemitConfig> memit_fields() {
  using M = MemitConfig;
  return {
      field("facts", &M::facts, whole_number<int>(1, kMostPromptsPerUnit),
            "that are written together: so many of the set's prompts, in the dataset's order"),
      field("weight", &M::weight, number(0, kLargest * kLargest),
            "of the text's keys against those of the facts"),
  };
}

Form<EditMethod> method() {
  return one_of<EditMethod>("a method",
                            {{kRomeMethod, EditMethod::kRome}, {kMemitMethod, EditMethod::kMemit}});
}

Fields<EditConfig> edit_fields() {
  using T = EditConfig;
  Fields<T> fields = {
      field("method", &T::method, method(),
            "rome: each fact by itself, in one matrix of one layer; memit: many facts at once, "
            "spread over all the layers"),
      field("memit", &T::memit, section(memit_fields()), "which facts memit writes together"),
      field("matrices", &T::matrices,
            word_or("usual", std::vector<EditedMatrix>{}, list_of(matrix())),
            "what is edited, one at a time; usual: W_o of a Mamba, W_down of a Transformer"),
      field("layers", &T::layers,
            word_or("15 of 64", std::vector<int>{},
                    word_or("all", kAllLayers, list_of(whole_number<int>(0, kMostLayers)))),
            "in which layers, of rome one at a time; 15 of 64: the one as deep in the model, not "
            "of memit"),
      field("search", &T::search, section(search_fields()), "the search for the new value"),
      field("contexts", &T::contexts, section(context_fields()), "texts before the prompt"),
      field("covariance", &T::covariance, section(covariance_fields()),
            "the text whose keys shall stay"),
      field("paraphrases", &T::paraphrases, whole_number<int>(0, kMostQuestions),
            "other texts that ask for the fact, at most; the dataset's, or else its prompts of the "
            "same subject and relation"),
      field("neighbours", &T::neighbours, whole_number<int>(0, kMostQuestions),
            "texts that ask other subjects of the same answer for it, at most; likewise"),
      field("others", &T::others, whole_number<int>(1, kMostQuestions),
            "facts that the edit is not about, of each kind: of the relation, of the subject, of "
            "neither"),
      field("save", &T::save, yes_or_no(),
            "keep each edit's two vectors, with which it can be applied to a checkpoint: four "
            "bytes for each of their numbers and each edit of each prompt"),
      field<T, std::uint64_t>("seed", &T::seed,
                              whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                              "draws contexts, texts, paraphrases, neighbours and other facts"),
      field<T, std::int64_t>("prompts", &T::prompts,
                             word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kMost)),
                             "only the first N prompts of the set"),
  };
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

}  // namespace

std::string to_string(EditMethod method) {
  return method == EditMethod::kMemit ? kMemitMethod : kRomeMethod;
}

EditSettings EditSearch::settings(EditMethod method) const {
  EditSettings settings;
  settings.lr = lr;
  settings.iterations = iterations;
  settings.weight_decay = weight_decay;
  settings.clamp_factor = clamp_factor;
  settings.kl_factor = kl_factor;
  settings.stop_loss = stop_loss;
  settings.stop_prob = stop_probability != kUsualStop ? stop_probability
                       : method == EditMethod::kMemit ? kNoStop
                                                      : kRomesStop;
  settings.stop_prob_after = stop_probability_after;
  return settings;
}

Form<std::vector<EditConfig>> edit_form() {
  return one_or_several(section(edit_fields()));
}

}  // namespace factflow
