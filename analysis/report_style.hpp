// The look of the report: for screens from phones up, and for paper.
#pragma once

namespace factflow {

extern const char* const kReportStyle;

}  // namespace factflow
