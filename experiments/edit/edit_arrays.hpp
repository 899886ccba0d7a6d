// Edits of facts in the results file: what the model says before and after each.
//
// Group MODEL/edit: axes `edit` (a matrix in a layer, or in the layers that are edited together),
// `prompt` (the fact), `question` (what is asked after an edit: the prompt itself, its paraphrases,
// its neighbours), `other` (facts that the edit is not about), `context`, `set`. With save: true,
// groups MODEL/edit_factors_K hold the rank-one factors of the edit numbered K on the axis.
// docs/results.md lists the arrays, docs/locate.md says how they are computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// What is asked after an edit; on the axis "rewrite 1", "paraphrase 1", "neighbour 1".
enum class EditQuestion { kRewrite, kParaphrase, kNeighbour };
// What a fact that the edit is not about has to do with it: "same relation", "same subject"
// (another relation), "unrelated".
enum class OtherFact { kSameRelation, kSameSubject, kUnrelated };
inline constexpr OtherFact kOtherFacts[] = {OtherFact::kSameRelation, OtherFact::kSameSubject,
                                            OtherFact::kUnrelated};
std::string to_string(EditQuestion kind);
std::string to_string(OtherFact kind);
inline constexpr const char *kRomeMethod = "rome", *kMemitMethod = "memit";
// Settings that only runs with edits by MEMIT have: a whole number and a number.
inline constexpr const char *kMemitFacts = "memit_facts", *kMemitWeight = "memit_weight";
// "3", "3-5", "1, 3-5": of ascending layers.
std::string layers_in_words(const std::vector<std::int32_t>& layers);
// What is edited, and how where it is not by ROME: "W_o", "memit W_o".
std::string edited_name(const std::string& method, const std::string& matrix);
// "W_o 3", "memit W_o 3-5".
std::string edit_name(const std::string& method, const std::string& matrix,
                      const std::vector<std::int32_t>& layers);

// What became of an edit of a prompt. kNone: not asked for, or not computed yet. kFailed: the
// prompt or its unit; /failures says why. kNoNumbers: the edit, or what the model says after it.
enum class EditOutcome : std::int32_t { kNone = 0, kEdited = 1, kFailed = -1, kNoNumbers = -2 };
inline constexpr std::int64_t kAlone = -1;  // in place of a group of facts

// How the two answers go on after a question. NLL: mean over an answer's tokens of -log p (natural
// logarithm), NaN where there is no such question, or it was not computed. Greedy: 1 = every token
// of it is the likeliest one after its past, 0 = not, -1 = likewise nothing.
struct EditJudgement {
  std::vector<float> new_nll, true_nll;
  std::vector<std::int32_t> new_greedy, true_greedy;
};

// The facts of one model that were edited. Numbers of an edit are NaN, and whole numbers -1, where
// the prompt failed, is not computed yet, or was not asked about.
struct EditResults {
  // Attributes: how edits were made; docs/results.md. Texts: method, covariance, covariance_source,
  // context_start. Whole numbers: covariance_tokens, seed, iterations, stop_probability_after.
  // Numbers: shrinkage, lr, weight_decay, clamp_factor, kl_factor, stop_loss, stop_probability (of
  // ROME, where both methods are asked for). kMemitFacts after the whole numbers, kMemitWeight
  // last.
  std::vector<std::pair<std::string, std::variant<std::int64_t, double, std::string>>> settings;

  // [edit]
  std::vector<std::string> edits;     // "W_o 3"; unique
  std::vector<std::string> methods;   // kRomeMethod, kMemitMethod
  std::vector<std::string> matrices;  // "W_o"
  std::vector<std::int32_t> layers;   // the highest
  // Of all edited together, separated by spaces.
  std::vector<std::string> all_layers;

  // [prompt]
  std::vector<std::int64_t> prompts;  // ids
  std::vector<std::string> subjects, true_answers, new_answers;
  std::vector<std::string> essences;       // the prompt whose next token shall stay; "" = failed
  std::vector<std::int32_t> subject_last;  // token; -1 = failed
  // Id of the first of the facts that were written together, kAlone = each by itself, or failed.
  std::vector<std::int64_t> groups;
  std::vector<std::string> tokens;                   // ids, separated by spaces
  std::vector<std::string> new_tokens, true_tokens;  // likewise, of the answers

  // [question]
  std::vector<EditQuestion> question_kinds;
  std::vector<std::string> question_names() const;  // of the axis
  std::vector<std::string> question_texts;          // [prompt, question]; "" = no such question
  EditJudgement before;                             // [prompt, question]
  EditJudgement after;                              // [edit, prompt, question]

  std::vector<std::int32_t> outcomes;  // [edit, prompt] as EditOutcome

  // [edit, prompt] how the search for the value ended.
  std::vector<std::int32_t> steps;  // of Adam
  std::vector<float> loss, nll, kl, mean_prob;
  std::vector<float> delta_norm, value_norm;  // ||v* - v0||, ||v0||
  std::vector<std::int32_t> clamped;          // 1 = ||v* - v0|| is as long as it may be
  std::vector<float> key_product;             // u . k0; of MEMIT NaN
  std::vector<float> update_norm;  // Frobenius norm of all that changes: Delta, of MEMIT's layers

  // [other]
  std::vector<OtherFact> other_kinds;
  std::vector<std::string> other_names() const;  // "same relation 1"
  std::vector<std::int64_t> other_prompts;       // [prompt, other] ids; -1 = there is none
  std::vector<float> other_log_before;           // [prompt, other] log p of its answer's token
  std::vector<float> other_log_change;           // [edit, prompt, other] after - before
  std::vector<std::int32_t> other_top_changed;  // [edit, prompt, other] 1 = another likeliest token
  std::vector<float> other_kl;  // [edit, prompt, other] KL(before || after) of the next token, nats

  // [context] "" = the bare prompt
  std::vector<std::string> contexts;        // texts
  std::vector<std::string> context_tokens;  // ids, separated by spaces

  // Sets of prompts that entries drew on, the main one first.
  std::vector<std::string> sets;
  std::vector<std::int32_t> members;  // [set, prompt] 1 = the prompt belongs to the set
  std::vector<std::int32_t> asked;  // [set, edit] 1 = this edit of the set's prompts was asked for

  // "W_o", "memit W_o"; "3", "3-5".
  std::string edited(std::size_t edit) const { return edited_name(methods[edit], matrices[edit]); }
  std::vector<std::int32_t> layers_of(std::size_t edit) const;

  // Places in the arrays.
  std::size_t at(std::size_t edit, std::size_t prompt) const {
    return edit * prompts.size() + prompt;
  }
  // Whether a set's entry asked for this edit of this prompt. A prompt of two sets has edits that
  // only the other one asked for.
  bool counts(std::size_t set, std::size_t edit, std::size_t prompt) const {
    return members[set * prompts.size() + prompt] != 0 && asked[set * edits.size() + edit] != 0;
  }
};
ArrayGroup arrays_of(const EditResults& results);
// Sets methods, all_layers, groups and outcomes as of edits that ROME made one at a time: files
// that were written before facts could be edited together lack them.
void complete_as_romes(EditResults& results);

// Delta = r u^T of one edit of each prompt, as [out, in]; float32. W + Delta is the edited matrix
// (docs/locate.md says which rows of which weight). Of MEMIT in each layer the sum over the facts
// that were written together.
struct EditFactors {
  std::int64_t edit = 0;              // place on the axis of EditResults
  std::string name;                   // there
  std::string matrix;                 // "W_o"
  bool together = false;              // by MEMIT
  std::vector<std::int32_t> layers;   // one, or those of MEMIT
  std::vector<std::int64_t> prompts;  // ids, as in EditResults
  std::int64_t in = 0, out = 0;       // of the matrix
  std::vector<float> u;               // [prompt, layer, in]; NaN = none
  std::vector<float> r;               // [prompt, layer, out]; likewise
};
ArrayGroup arrays_of(const EditFactors& factors);

// What a model has in the file. Throw InputError for what the functions above did not make.
bool has_edits(const ResultsReader& reader, const std::string& model);
EditResults read_edits(const ResultsReader& reader, const std::string& model);
// Places on the axis `edit` whose factors were saved, ascending.
std::vector<std::int64_t> edits_with_factors(const ResultsReader& reader, const std::string& model);
EditFactors read_edit_factors(const ResultsReader& reader, const std::string& model,
                              std::int64_t edit);

}  // namespace factflow
