// Measured by `sweep_bench --rates` and `trace_bench --rates`; bench/RESULTS.md has the runs.
#pragma once

#include <string_view>

namespace factflow {

inline constexpr std::string_view kMeasuredRates =
    R"(device,precision,kind,hidden,flops_per_second,rows
"NVIDIA H100 80GB HBM3",fp32,attention,768,4.536e+13
"NVIDIA H100 80GB HBM3",fp32,mamba,768,4.183e+13
"NVIDIA H100 80GB HBM3",fp32,attention,1024,4.68e+13
"NVIDIA H100 80GB HBM3",fp32,mamba2,768,4.169e+13
"NVIDIA H100 80GB HBM3",fp32,attention,1600,4.646e+13
"NVIDIA H100 80GB HBM3",fp32,attention,2048,4.656e+13
"NVIDIA H100 80GB HBM3",fp32,mamba2,2560,4.553e+13
"NVIDIA H100 80GB HBM3",fp32,mamba,4096,4.625e+13
"NVIDIA H100 80GB HBM3",fp32,mamba,2560,4.574e+13
"NVIDIA H100 80GB HBM3",tf32x3,attention,768,1.144e+14
"NVIDIA H100 80GB HBM3",tf32x3,mamba,768,9.172e+13
"NVIDIA H100 80GB HBM3",tf32x3,attention,1024,1.251e+14
"NVIDIA H100 80GB HBM3",tf32x3,mamba2,768,1.031e+14
"NVIDIA H100 80GB HBM3",tf32x3,attention,1600,1.261e+14
"NVIDIA H100 80GB HBM3",tf32x3,attention,2048,1.333e+14
"NVIDIA H100 80GB HBM3",tf32x3,mamba2,2560,1.308e+14
"NVIDIA H100 80GB HBM3",tf32x3,mamba,4096,1.308e+14
"NVIDIA H100 80GB HBM3",tf32x3,mamba,2560,1.256e+14
"NVIDIA H100 80GB HBM3",tf32,attention,768,1.927e+14
"NVIDIA H100 80GB HBM3",tf32,mamba,768,1.758e+14
"NVIDIA H100 80GB HBM3",tf32,attention,1024,2.187e+14
"NVIDIA H100 80GB HBM3",tf32,mamba2,768,1.762e+14
"NVIDIA H100 80GB HBM3",tf32,attention,1600,2.46e+14
"NVIDIA H100 80GB HBM3",tf32,attention,2048,2.661e+14
"NVIDIA H100 80GB HBM3",tf32,mamba2,2560,2.579e+14
"NVIDIA H100 80GB HBM3",tf32,mamba,4096,2.919e+14
"NVIDIA H100 80GB HBM3",tf32,mamba,2560,2.674e+14
"NVIDIA H100 80GB HBM3",bf16,attention,768,3.995e+14
"NVIDIA H100 80GB HBM3",bf16,mamba,768,2.952e+14
"NVIDIA H100 80GB HBM3",bf16,attention,1024,4.761e+14
"NVIDIA H100 80GB HBM3",bf16,mamba2,768,3.07e+14
"NVIDIA H100 80GB HBM3",bf16,attention,1600,5.131e+14
"NVIDIA H100 80GB HBM3",bf16,attention,2048,5.395e+14
"NVIDIA H100 80GB HBM3",bf16,mamba2,2560,4.834e+14
"NVIDIA H100 80GB HBM3",bf16,mamba,4096,5.407e+14
"NVIDIA H100 80GB HBM3",bf16,mamba,2560,4.879e+14
"NVIDIA H200",fp32,attention,128,1.903e+13
"NVIDIA H200",fp32,attention,768,4.557e+13
"NVIDIA H200",fp32,attention,1024,4.769e+13
"NVIDIA H200",fp32,attention,1600,4.693e+13
"NVIDIA H200",fp32,attention,2048,4.736e+13
"NVIDIA H200",fp32,mamba,128,9.533e+12
"NVIDIA H200",fp32,mamba,768,4.272e+13
"NVIDIA H200",fp32,mamba,2560,4.634e+13
"NVIDIA H200",fp32,mamba,4096,4.664e+13
"NVIDIA H200",fp32,mamba2,128,1.158e+13
"NVIDIA H200",fp32,mamba2,768,4.276e+13
"NVIDIA H200",fp32,mamba2,2560,4.698e+13
"NVIDIA H200",tf32x3,attention,128,1.978e+13
"NVIDIA H200",tf32x3,attention,768,1.226e+14
"NVIDIA H200",tf32x3,attention,1024,1.312e+14
"NVIDIA H200",tf32x3,attention,1600,1.311e+14
"NVIDIA H200",tf32x3,attention,2048,1.37e+14
"NVIDIA H200",tf32x3,mamba,128,9.067e+12
"NVIDIA H200",tf32x3,mamba,768,9.948e+13
"NVIDIA H200",tf32x3,mamba,2560,1.305e+14
"NVIDIA H200",tf32x3,mamba,4096,1.344e+14
"NVIDIA H200",tf32x3,mamba2,128,1.087e+13
"NVIDIA H200",tf32x3,mamba2,768,1.12e+14
"NVIDIA H200",tf32x3,mamba2,2560,1.34e+14
"NVIDIA H200",tf32,attention,128,2.146e+13
"NVIDIA H200",tf32,attention,768,2.111e+14
"NVIDIA H200",tf32,attention,1024,2.303e+14
"NVIDIA H200",tf32,attention,1600,2.461e+14
"NVIDIA H200",tf32,attention,2048,2.732e+14
"NVIDIA H200",tf32,mamba,128,1.167e+13
"NVIDIA H200",tf32,mamba,768,1.874e+14
"NVIDIA H200",tf32,mamba,2560,2.643e+14
"NVIDIA H200",tf32,mamba,4096,2.856e+14
"NVIDIA H200",tf32,mamba2,128,1.28e+13
"NVIDIA H200",tf32,mamba2,768,1.956e+14
"NVIDIA H200",tf32,mamba2,2560,2.612e+14
"NVIDIA H200",bf16,attention,128,2.095e+13
"NVIDIA H200",bf16,attention,768,4.113e+14
"NVIDIA H200",bf16,attention,1024,4.836e+14
"NVIDIA H200",bf16,attention,1600,5.208e+14
"NVIDIA H200",bf16,attention,2048,5.631e+14
"NVIDIA H200",bf16,mamba,128,1.015e+13
"NVIDIA H200",bf16,mamba,768,3.065e+14
"NVIDIA H200",bf16,mamba,2560,4.871e+14
"NVIDIA H200",bf16,mamba,4096,5.354e+14
"NVIDIA H200",bf16,mamba2,128,1.113e+13
"NVIDIA H200",bf16,mamba2,768,3.425e+14
"NVIDIA H200",bf16,mamba2,2560,4.861e+14
"NVIDIA H200",fp32,mamba,2560,4.606e+13,several
"NVIDIA H200",tf32x3,mamba,2560,1.259e+14,several
"NVIDIA H200",tf32,mamba,2560,2.391e+14,several
"NVIDIA H200",bf16,mamba,2560,4.344e+14,several
"NVIDIA H200",fp32,mamba,768,3.835e+13,several
"NVIDIA H200",tf32x3,mamba,768,7.398e+13,several
"NVIDIA H200",tf32,mamba,768,1.181e+14,several
"NVIDIA H200",bf16,mamba,768,1.773e+14,several
"NVIDIA H200",fp32,attention,768,4.225e+13,several
"NVIDIA H200",tf32x3,attention,768,1.098e+14,several
"NVIDIA H200",tf32,attention,768,1.761e+14,several
"NVIDIA H200",bf16,attention,768,2.8e+14,several
"NVIDIA H200",fp32,attention,1600,4.764e+13,several
"NVIDIA H200",tf32x3,attention,1600,1.347e+14,several
"NVIDIA H200",tf32,attention,1600,2.406e+14,several
"NVIDIA H200",bf16,attention,1600,5.172e+14,several
"NVIDIA H200",fp32,attention,2048,4.675e+13,several
"CPU, avx512, 2 threads",fp32,mamba,768,1.65e+11
"CPU, avx512, 2 threads",fp32,attention,768,1.59e+11
"CPU, avx512, 2 threads",fp32,mamba2,768,1.534e+11
)";

}  // namespace factflow
