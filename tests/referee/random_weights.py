"""Random weights with scales that make every part of a model matter."""
import torch
from transformers.core_model_loading import revert_weight_conversion


def scaled(name, value):
    """Noise in the shape of the tensor `value`, for the tensor of this name."""
    noise = torch.randn_like(value)
    if name.endswith("A_log"):
        return value + 0.8 * noise
    if name.endswith("dt_bias") or "dt_proj.bias" in name:
        return 1.2 * noise - 1
    if name.endswith(".D") or (value.dim() == 1 and name.endswith("weight")):
        return 1 + 0.2 * noise
    if any(part in name for part in ("embed", "wte", "wpe", "lm_head")):
        return noise
    return noise * (1.6 / value.shape[-1] ** 0.5 if value.dim() > 1 else 0.3)


def with_whole_parts(tensors, config):
    """OLMo-Hybrid's convolution is saved in three equal parts by transformers 5.24, whatever the widths of queries, keys and values are."""
    if config.model_type != "olmo_hybrid":
        return tensors
    keys, values = config.linear_num_key_heads * config.linear_key_head_dim, config.linear_num_value_heads * config.linear_value_head_dim
    for name in [name for name in tensors if name.endswith("q_conv1d.weight")]:
        names = [name.replace("q_conv1d", part) for part in ("q_conv1d", "k_conv1d", "v_conv1d")]
        whole = torch.cat([tensors[part] for part in names])
        tensors.update(zip(names, whole.split([keys, keys, values])))
    return tensors


def as_saved(model):
    """The tensors of a model under the names and in the shapes that transformers writes."""
    return with_whole_parts(revert_weight_conversion(model, model.state_dict()), model.config)
