#include "model/foreign_tensors.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kOriginal =
    "use the checkpoint that the quantised weights were made from, or save them dequantised: "
    "model.dequantize() and save_pretrained() of transformers";
constexpr const char* kMerge =
    "merge the adapter into the weights with peft (merge_and_unload, then save_pretrained)";
constexpr const char* kUnwrap = "save the state_dict() of the model inside the wrapper";

struct Mark {
  std::string_view text;
  bool at_end;  // else anywhere in the name
  const char *problem, *remedy;
};

const Mark kMarks[] = {
    {".lora_", false, "belongs to a LoRA adapter", kMerge},
    {".base_layer.", false, "is a weight below an adapter", kMerge},
    {".modules_to_save.", false, "belongs to an adapter", kMerge},
    {"prompt_embeddings", true, "belongs to an adapter of prompts", kMerge},
    {".ia3_l", false, "belongs to an adapter (IA3)", kMerge},
    {".qweight", true, "holds quantised weights (GPTQ or AWQ)", kOriginal},
    {".qzeros", true, "holds zero points of quantised weights (GPTQ or AWQ)", kOriginal},
    {".scales", true, "holds scales of quantised weights (GPTQ, AWQ or MLX)", kOriginal},
    {".biases", true, "holds offsets of quantised weights (MLX)", kOriginal},
    {".g_idx", true, "holds groups of quantised weights (GPTQ)", kOriginal},
    {".absmax", true, "holds scales of quantised weights (bitsandbytes)", kOriginal},
    {".nested_absmax", true, "holds scales of quantised weights (bitsandbytes)", kOriginal},
    {".quant_map", true, "holds levels of quantised weights (bitsandbytes)", kOriginal},
    {".nested_quant_map", true, "holds levels of quantised weights (bitsandbytes)", kOriginal},
    {".quant_state.", false, "describes quantised weights (bitsandbytes)", kOriginal},
    {".SCB", true, "holds scales of quantised weights (bitsandbytes)", kOriginal},
    {".weight_format", true, "describes quantised weights (bitsandbytes)", kOriginal},
    {".weight_packed", true, "holds quantised weights (compressed-tensors)", kOriginal},
    {".weight_shape", true, "describes quantised weights (compressed-tensors)", kOriginal},
    {".weight_zero_point", true, "holds zero points of quantised weights", kOriginal},
    {".weight_scale", true, "holds scales of quantised weights", kOriginal},
    {".weight_scale_2", true, "holds scales of quantised weights", kOriginal},
    {".weight_scale_inv", true, "holds scales of quantised weights (FP8)", kOriginal},
    {".weight_scales", true, "holds scales of quantised weights (EETQ)", kOriginal},
    {".weight_blocks", true, "holds quantised weights (MXFP4)", kOriginal},
    {".input_scale", true, "holds scales of quantised activations", kOriginal},
    {".W_q", true, "holds quantised weights (HQQ)", kOriginal},
    {".codebooks", true, "holds quantised weights (AQLM)", kOriginal},
    {".codes", true, "holds quantised weights (AQLM)", kOriginal},
    {"._fsdp_wrapped_module.", false, "was saved inside a wrapper (FSDP)", kUnwrap},
    {"._checkpoint_wrapped_module.", false, "was saved inside a wrapper of checkpointing", kUnwrap},
    {"._orig_mod.", false, "was saved inside a wrapper (torch.compile)", kUnwrap},
};

struct Wrapper {
  std::string_view prefix;
  const char *who, *remedy;
};

// In this order: of the prefixes of several wrappers the first counts.
const Wrapper kWrappers[] = {
    {"base_model.model.", "peft puts there",
     "save the model itself: merge_and_unload() of peft, then save_pretrained"},
    {"_fsdp_wrapped_module.", "FSDP puts there",
     "save the full state dict of the model inside the wrapper"},
    {"_orig_mod.", "torch.compile puts there", "save model._orig_mod.state_dict()"},
    {"module.", "DataParallel and DistributedDataParallel put there",
     "save model.module.state_dict()"},
};

}  // namespace

std::optional<ForeignTensor> foreign_tensor(const std::string& name) {
  for (const Mark& mark : kMarks)
    if (mark.at_end ? name.ends_with(mark.text) : name.find(mark.text) != std::string::npos)
      return ForeignTensor{mark.problem, mark.remedy};
  return std::nullopt;
}

ForeignTensor foreign_prefix(const std::string& prefix) {
  constexpr const char* kOrRename = "or take the prefix off the names of the tensors";
  const auto wrapper = std::find_if(
      std::begin(kWrappers), std::end(kWrappers),
      [&](const Wrapper& known) { return prefix.find(known.prefix) != std::string::npos; });
  const bool known = wrapper != std::end(kWrappers);
  return {fmt::format("begins, as those of the whole model do, with {}{}", in_quotes(prefix),
                      known ? fmt::format(", which {}", wrapper->who) : ""),
          fmt::format("{}, {}", known ? wrapper->remedy : kUnwrap, kOrRename)};
}

}  // namespace factflow
