// Edits that are written into a checkpoint: what is loaded from it says what the edited model said.
#include "model/edit/edited_checkpoint.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.hpp"
#include "model/checkpoint/safetensors.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/reference/reference.hpp"
#include "random_checkpoint.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

const std::vector<int> kPrompt = {3, 11, 7, 19, 2, 23};

// Not a special vector: sin(i + phase).
at::Tensor waves(std::int64_t size, double phase) {
  return at::sin(at::arange(size, at::kDouble) + phase) * 0.1;
}

class EditedCheckpoint : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(directory_.path() / "in");
    write_checkpoint(directory_.path() / "in", small_config(GetParam()),
                     random_tensors(small_config(GetParam()), 3));
    checkpoint_ = open("in");
    network_ = Network::load(checkpoint_, at::kCPU, Precision::kFp64);
  }
  std::shared_ptr<const Checkpoint> open(const std::string& name) const {
    return std::make_shared<const Checkpoint>(
        Checkpoint::open((directory_.path() / name).string()));
  }
  std::filesystem::path out() const { return directory_.path() / "out"; }

  // An edit of each matrix that the middle layer has, and of those of the layer below.
  std::vector<SavedEdit> edits() const {
    std::vector<SavedEdit> edits;
    for (const int layer : {0, 1})
      for (const auto name : {EditedMatrix::kWa, EditedMatrix::kWxbc, EditedMatrix::kWg,
                              EditedMatrix::kWo, EditedMatrix::kWdown}) {
        try {
          const EditableMatrix matrix = network_->editable(layer, name).matrix;
          edits.push_back({name, layer, waves(matrix.columns, layer), waves(matrix.rows, 2)});
        } catch (const std::invalid_argument&) {  // this family has no such matrix
        }
      }
    return edits;
  }

  TemporaryDirectory directory_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Network> network_;
};

TEST_P(EditedCheckpoint, SaysWhatTheEditedModelSaid) {
  const std::string digest = checkpoint_->digest();
  const std::vector<SavedEdit> edits = this->edits();
  ASSERT_FALSE(edits.empty());
  const std::vector<EditedTensor> told =
      write_edited_checkpoint(*checkpoint_, *network_, edits, out());
  EXPECT_EQ(open("in")->digest(), digest);

  const auto written = open("out");
  const auto again = Network::load(written, at::kCPU, Precision::kFp64);
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  for (const SavedEdit& edit : edits)
    applied.push_back(std::make_unique<AppliedEdit>(
        *network_, EditSlot(*network_, edit.matrix, edit.layer), at::outer(edit.r, edit.u)));
  const at::Tensor expected = ReferenceForward(*network_).log_probabilities(kPrompt),
                   found = ReferenceForward(*again).log_probabilities(kPrompt);
  while (!applied.empty()) applied.pop_back();
  const at::Tensor before = ReferenceForward(*network_).log_probabilities(kPrompt);
  // The files hold float32.
  EXPECT_LT((expected - found).abs().max().item<double>(), 1e-5);
  EXPECT_GT((expected - before).abs().max().item<double>(), 1e-3);

  std::size_t written_edits = 0;
  std::set<std::string> names;
  for (const EditedTensor& tensor : told) {
    names.insert(tensor.name);
    written_edits += tensor.edits;
    EXPECT_GT(tensor.change, 0);
    EXPECT_LT(tensor.rounding, 1e-5);
  }
  EXPECT_EQ(written_edits, edits.size());
  ASSERT_EQ(written->tensors().size(), checkpoint_->tensors().size());
  for (const auto& [name, tensor] : checkpoint_->tensors()) {
    const StoredTensor& other = written->tensors().at(name);
    EXPECT_EQ(other.type, tensor.type) << name;
    EXPECT_EQ(other.shape, tensor.shape) << name;
    EXPECT_EQ(std::ranges::equal(other.bytes, tensor.bytes), !names.contains(name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EditedCheckpoint,
                         testing::Values("gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                                         "falcon_mamba", "mamba2", "mamba_ssm", "mamba_ssm2"));
INSTANTIATE_TEST_SUITE_P(Decoders, EditedCheckpoint, testing::ValuesIn(small_decoders()));

template <class Action>
void refused(Action action, const std::vector<std::string>& words) {
  const std::string message = input_error_of(action);
  for (const std::string& word : words) EXPECT_THAT(message, testing::HasSubstr(word));
}

class EditedFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(in());
    const nlohmann::json config = small_config("mamba");
    write_checkpoint(in(), config, random_tensors(config, 3));
    std::ofstream(in() / "tokenizer.json") << "{}";
    std::ofstream(in() / "pytorch_model.bin") << "old";
    std::filesystem::create_directory(in() / "onnx");
    checkpoint_ = std::make_shared<const Checkpoint>(Checkpoint::open(in().string()));
    network_ = Network::load(checkpoint_, at::kCPU, Precision::kFp32);
  }
  std::filesystem::path in() const { return directory_.path() / "in"; }
  std::filesystem::path out() const { return directory_.path() / "out"; }
  SavedEdit edit(double size = 1) const {
    const EditableMatrix matrix = network_->editable(0, EditedMatrix::kWo).matrix;
    return {EditedMatrix::kWo, 0, waves(matrix.columns, 0) * size, waves(matrix.rows, 1) * size};
  }
  std::vector<EditedTensor> write(const std::vector<SavedEdit>& edits) const {
    return write_edited_checkpoint(*checkpoint_, *network_, edits, out());
  }

  TemporaryDirectory directory_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Network> network_;
};

TEST_F(EditedFiles, WhatIsNoWeightsComesAlong) {
  write({edit()});
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(out()))
    names.insert(entry.path().filename().string());
  EXPECT_EQ(names, (std::set<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(read_file(out() / "config.json"), read_file(in() / "config.json"));
  names.clear();
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
    names.insert(entry.path().filename().string());
  EXPECT_EQ(names, (std::set<std::string>{"in", "out"}));  // and nothing hidden is left
}

TEST_F(EditedFiles, EditsOfOneMatrixAddUp) {
  const std::vector<EditedTensor> told = write({edit(), edit()});
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].edits, 2U);
  const SavedEdit one = edit();
  EXPECT_NEAR(told[0].change, 2 * (one.u.norm() * one.r.norm()).item<double>(), 1e-12);
}

TEST_F(EditedFiles, AnotherDirectorysFilesAreLeftAlone) {
  std::filesystem::create_directory(out());
  std::ofstream(out() / "mine.txt") << "x";
  refused([&] { write({edit()}); }, {"out", "mine.txt"});
  EXPECT_EQ(read_file(out() / "mine.txt"), "x");
}

TEST_F(EditedFiles, WhatDoesNotFitIsRefused) {
  SavedEdit other = edit();
  other.u = waves(3, 0);
  refused([&] { write({other}); }, {"W_o of layer 0", "x 3"});
  other = edit();
  other.layer = 99;
  refused([&] { write({other}); }, {"layer 99"});
  other = edit();
  other.matrix = EditedMatrix::kWdown;
  refused([&] { write({other}); }, {"W_down", "W_o"});
  refused([&] { write({edit(1e30)}); }, {"F32 cannot hold"});
  EXPECT_FALSE(std::filesystem::exists(out()));
}

TEST(SafetensorsWriter, WritesWhatIsRead) {
  const TemporaryDirectory directory;
  const std::vector<double> wide = {1, -2.5, 3};
  const std::vector<std::uint8_t> bytes = {1, 2, 3};
  TensorMap tensors;
  tensors["b"] = {StoredType::kF64, {3}, std::as_bytes(std::span(wide)), ""};
  tensors["a \"quoted\""] = {StoredType::kU8, {3, 1}, std::as_bytes(std::span(bytes)), ""};
  tensors["empty"] = {StoredType::kF32, {0, 4}, {}, ""};
  const std::filesystem::path file = directory.path() / "x.safetensors";
  write_safetensors(file, tensors);
  const TensorFile found = open_safetensors(file);
  ASSERT_EQ(found.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(found.tensors.at(name).type, tensor.type) << name;
    EXPECT_EQ(found.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_TRUE(std::ranges::equal(found.tensors.at(name).bytes, tensor.bytes)) << name;
  }
  EXPECT_THROW(write_safetensors(file, tensors), RunError);  // it exists
}

}  // namespace
}  // namespace factflow
