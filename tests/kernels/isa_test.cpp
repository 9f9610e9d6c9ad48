#include "kernels/isa.h"

#include <gtest/gtest.h>

#include "kernels/kernels.h"

namespace pagoda {
namespace {

TEST(Isa, ScalarIsAlwaysAvailable) {
  EXPECT_EQ(available_isas(CpuInfo{}), std::vector<Isa>{Isa::scalar});
  EXPECT_EQ(choose_isa(CpuInfo{}, "").value(), Isa::scalar);
}

TEST(Isa, Avx512NeedsVnni) {
  CpuInfo cpu = {.model_name = "test", .avx2 = true, .avx512 = true};
  EXPECT_EQ(available_isas(cpu).size(), 2u);
  EXPECT_FALSE(choose_isa(cpu, "avx512").has_value());
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avx2);
  cpu.avx512_vnni = true;
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avx512);
  EXPECT_EQ(choose_isa(cpu, "avx2").value(), Isa::avx2);
}

TEST(Isa, AvxVnniIsBetweenAvx2AndAvx512) {
  CpuInfo cpu = {.model_name = "test", .avx2 = true, .avx_vnni = true};
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avxvnni);
  EXPECT_EQ(choose_isa(cpu, "avx2").value(), Isa::avx2);
  cpu.avx512 = true;
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avxvnni);  // AVX-512 without its own VNNI
  cpu.avx512_vnni = true;
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avx512);
  EXPECT_EQ(choose_isa(cpu, "avxvnni").value(), Isa::avxvnni);
  cpu.avx_vnni = false;
  EXPECT_FALSE(choose_isa(cpu, "avxvnni").has_value());
}

TEST(Isa, AmxComesAboveAvx512AndNeedsIt) {
  CpuInfo cpu = {.model_name = "test", .avx2 = true, .amx_int8 = true};
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::avx2);
  cpu.avx512 = true;
  cpu.avx512_vnni = true;
  cpu.avx512_bf16 = true;  // as every processor with AMX has
  EXPECT_EQ(choose_isa(cpu, "").value(), Isa::amx);
  EXPECT_EQ(choose_isa(cpu, "avx512").value(), Isa::avx512);
  cpu.amx_int8 = false;
  const Result<Isa> missing = choose_isa(cpu, "amx");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::unsupported);
  EXPECT_NE(missing.error().message.find("amx"), std::string::npos);
}

TEST(Isa, UnknownNamesAreErrors) {
  const Result<Isa> isa = choose_isa(CpuInfo{}, "sse9");
  ASSERT_FALSE(isa.has_value());
  EXPECT_EQ(isa.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(isa.error().message.find("sse9"), std::string::npos);
}

TEST(Isa, EveryAvailableIsaHasATable) {
  for (const Isa isa : available_isas(detect_cpu())) {
    EXPECT_EQ(kernels_for(isa).isa, isa);
    EXPECT_NE(kernels_for(isa).linear.linear, nullptr);
    EXPECT_EQ(&kernels_for(isa), &kernels_for(isa));
  }
}

}  // namespace
}  // namespace pagoda
