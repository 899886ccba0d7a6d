// factflow._engine: what the Python package needs of the engine. Configurations come as text and go
// through the fields of the program's own; results leave as labelled arrays. So a kind, a site or a
// key that is new in the engine is there without a line of this file.
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/DLConvertor.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.hpp"
#include "base/version.hpp"
#include "experiments/table.hpp"
#include "model/blas.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/local_run.hpp"
#include "pipeline/run/one_run.hpp"

namespace py = pybind11;

namespace factflow {
namespace {

// What messages call configurations that were made of a call.
constexpr const char* kCall = "the call";

// ---- values

template <typename T>
py::object values_of(std::vector<T> values, const std::vector<py::ssize_t>& shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const py::capsule owner(kept,
                          [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>(shape, kept->data(), owner);
}

// Texts: a flat list, which the package shapes.
py::object values_of(std::vector<std::string> values, const std::vector<py::ssize_t>&) {
  py::list texts;
  for (const std::string& value : values)
    texts.append(py::reinterpret_steal<py::str>(
        PyUnicode_DecodeUTF8(value.data(), static_cast<py::ssize_t>(value.size()), "replace")));
  return texts;
}

template <typename Variant>
py::object values_of_any(Variant& values, const std::vector<py::ssize_t>& shape) {
  return std::visit([&](auto& one) { return values_of(std::move(one), shape); }, values);
}

// (path, attributes, axes, arrays); an axis or an array is (name, axes, shape, units, description,
// values).
py::tuple python_of(ArrayGroup& group) {
  py::dict attributes;
  for (const auto& [name, value] : group.attributes)
    std::visit([&, &key = name](const auto& one) { attributes[key.c_str()] = one; }, value);
  py::list axes, arrays;
  std::map<std::string, py::ssize_t> lengths;
  for (ArrayAxis& axis : group.axes) {
    const auto length = std::visit(
        [](const auto& values) { return static_cast<py::ssize_t>(values.size()); }, axis.values);
    lengths[axis.name] = length;
    axes.append(py::make_tuple(axis.name, py::make_tuple(axis.name), py::make_tuple(length),
                               axis.label.units, axis.label.description,
                               values_of_any(axis.values, {length})));
  }
  for (LabelledArray& array : group.arrays) {
    std::vector<py::ssize_t> shape;
    for (const std::string& axis : array.axes) shape.push_back(lengths.at(axis));
    arrays.append(py::make_tuple(array.name, py::tuple(py::cast(array.axes)),
                                 py::tuple(py::cast(shape)), array.label.units,
                                 array.label.description, values_of_any(array.values, shape)));
  }
  return py::make_tuple(group.path, attributes, axes, arrays);
}

// A capsule that torch.from_dlpack takes over: the same memory, on its device.
py::object dlpack_of(const at::Tensor& tensor) {
  constexpr const char* kName = "dltensor";
  return py::reinterpret_steal<py::object>(
      PyCapsule_New(at::toDLPack(tensor), kName, [](PyObject* capsule) {
        if (PyCapsule_IsValid(capsule, kName) == 0) return;  // taken over
        auto* kept = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kName));
        if (kept->deleter != nullptr) kept->deleter(kept);
      }));
}

py::tuple python_of(const Answer& answer) {
  return py::make_tuple(answer.log_probability, answer.rank, answer.tied);
}

// ---- a model

// A tensor of a model that is in memory already: row-major, contiguous, on the host.
using TensorPlace =
    std::tuple<std::string, std::string, std::vector<std::int64_t>, std::uintptr_t, std::size_t>;

StoredType stored_type(const std::string& name) {
  for (const StoredType type :
       {StoredType::kF64, StoredType::kF32, StoredType::kF16, StoredType::kBF16, StoredType::kI64,
        StoredType::kI32, StoredType::kI16, StoredType::kI8, StoredType::kU8, StoredType::kBool})
    if (to_string(type) == name) return type;
  throw InputError(kCall, "a tensor has the type " + name, "convert the model to float32");
}

std::shared_ptr<const Checkpoint> checkpoint_in_memory(const std::string& directory,
                                                       const std::vector<TensorPlace>& tensors,
                                                       py::object owner) {
  // Python's reference is given back with the interpreter's lock held, whoever lets go last.
  const std::shared_ptr<const void> keeper(new py::object(std::move(owner)),
                                           [](const void* pointer) {
                                             const py::gil_scoped_acquire lock;
                                             delete static_cast<const py::object*>(pointer);
                                           });
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, type, shape, address, bytes] : tensors)
    stored[name] = {
        stored_type(type),
        shape,
        {reinterpret_cast<const std::byte*>(address), bytes},  // NOLINT: as it was given
        "the model in memory"};
  return std::make_shared<const Checkpoint>(
      Checkpoint::in_memory(directory, std::move(stored), keeper));
}

// The number of threads of this process while it lives, and the BLAS of products; torch's own
// number is put back.
class Computing {
 public:
  Computing(int threads, std::shared_ptr<const Blas> blas)
      : before_(at::get_num_threads()),
        threads_(set_threads(threads, 1)),
        blas_(std::move(blas), threads_) {}
  ~Computing() { at::set_num_threads(before_); }
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;

 private:
  int before_, threads_;
  Blas::Scope blas_;
};

// Path and prefix of a library; an empty path is libtorch's own.
using BlasPlace = std::pair<std::string, std::string>;

template <class F>
auto without_lock(const F& compute) {
  const py::gil_scoped_release unlocked;
  return compute();
}

class PythonModel {
 public:
  // `config`: a configuration whose one model and whose `run` say what is loaded where.
  PythonModel(const std::string& config, const BlasPlace& blas,
              std::shared_ptr<const Checkpoint> checkpoint)
      : config_(parse_config(config, kCall)),
        blas_(blas.first.empty() ? nullptr : Blas::open(blas.first, blas.second)) {
    const ModelConfig& model = config_.models.at(0);
    const ModelSource source{
        model.path,
        {model.head, model.gated_norm},
        model.tokenizer.empty() ? "" : Checkpoint::resolve_tokenizer(model.tokenizer).string(),
        config_.select.at(0).answer};
    const Computing computing(config_.run.threads_per_rank, blas_);
    const at::Device device = choose_device(config_.run.device);
    const Precision precision = parse_precision(config_.run.precision);
    check_precision(device, precision);
    if (!checkpoint) checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(source.path));
    model_ = std::make_unique<LoadedModel>(std::move(checkpoint), source, device, precision,
                                           config_.run.memory_limit, "");
  }

  py::dict facts() {
    const ModelFacts facts = without_lock([&] {
      const std::lock_guard guard(busy_);
      return model_->facts();
    });
    py::dict said;
    said["family"] = facts.family;
    said["layers"] = facts.layers;
    said["hidden_size"] = facts.hidden_size;
    said["vocabulary"] = facts.vocabulary;
    said["parameters"] = facts.parameters;
    said["checkpoint_digest"] = facts.checkpoint_digest;
    said["tokenizer_digest"] = facts.tokenizer_digest;
    said["layer_blocks"] = facts.layer_blocks;
    said["libraries"] = facts.libraries;
    said["device"] = facts.device;
    said["blas"] = blas_ ? blas_->name() : "libtorch's";
    return said;
  }

  // (groups, failures as (prompt, stage, reason), warnings). `progress` is called between units
  // with (units done, units known, share) and may raise.
  py::tuple run(const std::string& text, const std::vector<Prompt>& prompts,
                const py::function& progress) {
    Config config = parse_config(text, kCall);
    config.run = config_.run;
    config.select.at(0).answer = config_.select.at(0).answer;
    Dataset dataset;
    dataset.prompts = prompts;
    LocalResults results;
    {
      const py::gil_scoped_release unlocked;
      const std::lock_guard guard(busy_);
      const Computing computing(config_.run.threads_per_rank, blas_);
      results = run_locally(config, dataset, *model_, [&](const LocalProgress& so_far) {
        const py::gil_scoped_acquire lock;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        progress(so_far.units_done, so_far.units_known, so_far.share);
      });
    }
    py::list groups, failures;
    for (ArrayGroup& group : results.groups) groups.append(python_of(group));
    for (const FailureRecord& failure : results.failures)
      failures.append(py::make_tuple(failure.prompt, failure.stage, failure.reason));
    return py::make_tuple(groups, failures, results.warnings);
  }

  // An action is (row, layers, facts that lend values), a read (site, tokens, layers). Gives
  // (answer, clean answer, touched, texts of tokens, values): an answer is (log-probability, rank,
  // tied), values of a read are (tokens, capsule, capsule of the clean run).
  using Action = std::tuple<std::string, std::vector<int>, std::vector<Prompt>>;
  using Read = std::tuple<std::string, std::string, std::vector<int>>;
  py::tuple run_one(const Prompt& prompt, const std::vector<Action>& actions,
                    const std::vector<Read>& reads) {
    std::vector<ActionInLayers> acting;
    for (const auto& [row, layers, others] : actions) acting.push_back({row, layers, others});
    std::vector<AskedRead> reading;
    for (const auto& [site, tokens, layers] : reads) reading.push_back({site, tokens, layers});
    const OneRun run = without_lock([&] {
      const std::lock_guard guard(busy_);
      const Computing computing(config_.run.threads_per_rank, blas_);
      return factflow::run_one(prompt, acting, reading, *model_, config_.run.self_check);
    });
    py::list values;
    for (const SiteValues& read : run.reads)
      values.append(py::make_tuple(read.tokens, dlpack_of(read.values), dlpack_of(read.clean)));
    return py::make_tuple(python_of(run.answer), python_of(run.clean), run.touched,
                          values_of(run.tokens, {}), values);
  }

  std::vector<std::string> in_place() const { return model_->in_place(); }

 private:
  Config config_;
  std::shared_ptr<const Blas> blas_;
  std::unique_ptr<LoadedModel> model_;
  std::mutex busy_;  // one run of a model at a time
};

std::unique_ptr<PythonModel> load(const std::string& config, const BlasPlace& blas) {
  const py::gil_scoped_release unlocked;
  return std::make_unique<PythonModel>(config, blas, nullptr);
}

std::unique_ptr<PythonModel> load_from_memory(const std::string& config, const BlasPlace& blas,
                                              const std::string& directory,
                                              const std::vector<TensorPlace>& tensors,
                                              py::object owner) {
  const auto checkpoint = checkpoint_in_memory(directory, tensors, std::move(owner));
  const py::gil_scoped_release unlocked;
  return std::make_unique<PythonModel>(config, blas, checkpoint);
}

// ---- facts

// (facts, format, bad records as (where, reason)) of the dataset of a configuration.
py::tuple read_facts(const std::string& config) {
  const DatasetConfig from = parse_config(config, kCall).dataset;
  Dataset dataset;
  {
    const py::gil_scoped_release unlocked;
    dataset = read_dataset(from);
  }
  py::list bad;
  for (const BadRecord& record : dataset.bad)
    bad.append(py::make_tuple(record.where, record.reason));
  return py::make_tuple(std::move(dataset.prompts), dataset.format, bad);
}

// ---- errors

// Raises factflow.errors.NAME(*arguments).
template <typename... Arguments>
void raise(const char* name, const Arguments&... arguments) {
  const py::object type = py::module_::import("factflow.errors").attr(name);
  const py::object error = type(arguments...);
  PyErr_SetObject(type.ptr(), error.ptr());
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const InputError& error) {
    raise("InputError", error.where(), error.problem(), error.remedy());
  } catch (const MemoryError& error) {
    raise("OutOfMemoryError", std::string(error.what()));
  } catch (const Error& error) {
    raise("EngineError", std::string(error.what()));
  } catch (const c10::Error& error) {
    const std::string line = error.what_without_backtrace();
    raise(is_out_of_memory(error) ? "OutOfMemoryError" : "EngineError",
          line.substr(0, line.find('\n')));
  }
}

}  // namespace
}  // namespace factflow

PYBIND11_MODULE(_engine, module) {
  using namespace factflow;  // NOLINT: the module is this project's
  module.doc() = "The engine of factflow. Private: use the package factflow.";
  module.attr("version") = version();
  // By section of the configuration, as `factflow run --help` names them.
  py::list sections;
  for (const ExperimentKind* kind : experiment_kinds())
    if (!kind->section().empty()) sections.append(kind->section());
  module.attr("sections") = py::tuple(sections);

  py::register_exception_translator(translate);
  py::class_<Prompt>(module, "Fact",
                     "A prompt with its subject and answer, as a dataset has it. Offsets are bytes "
                     "of the text in UTF-8.")
      .def_readonly("id", &Prompt::id)
      .def_readonly("text", &Prompt::text)
      .def_readonly("subject", &Prompt::subject)
      .def_readonly("subject_begin", &Prompt::subject_begin)
      .def_readonly("answer", &Prompt::answer)
      .def_readonly("relation", &Prompt::relation)
      .def("__repr__", [](const Prompt& fact) {
        return "<Fact " + std::to_string(fact.id) + ": " + fact.text + " ->" + fact.answer + ">";
      });
  py::class_<PythonModel>(module, "Model")
      .def_property_readonly("facts", &PythonModel::facts)
      .def("in_place", &PythonModel::in_place)
      .def("run", &PythonModel::run, py::arg("config"), py::arg("facts"), py::arg("progress"))
      .def("run_one", &PythonModel::run_one, py::arg("fact"), py::arg("actions"), py::arg("reads"));
  module.def("load", &load, py::arg("config"), py::arg("blas"));
  module.def("load_from_memory", &load_from_memory, py::arg("config"), py::arg("blas"),
             py::arg("directory"), py::arg("tensors"), py::arg("owner"));
  module.def("read_facts", &read_facts, py::arg("config"));
  module.def("config_help", &config_help);
}
