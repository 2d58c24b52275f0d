# The tests as ctest sees them. Each prints `N passed, N failed` or says why it was skipped (exit 77).
# Labels: quick, slow, sanitize (worth running in the sanitizer build too), gpu (never run here).
enable_testing()
set(T ${CMAKE_SOURCE_DIR}/tests)
set(RUNTIME_LINK -Wl,--start-group stmrt ${RUNTIME_ARCHIVES} -Wl,--end-group m dl Threads::Threads)

# test_program(NAME LIBRARY "arguments" sources...): LIBRARY is stmc_core, stmrt or none
function(test_program name library arguments)
  list(TRANSFORM ARGN PREPEND ${T}/)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${T} ${T}/fuzz ${T}/passes)
  if(library STREQUAL stmrt)
    target_include_directories(${name} PRIVATE runtime)
    target_include_directories(${name} SYSTEM PRIVATE ${HDF5_INCLUDE})
    target_link_libraries(${name} PRIVATE ${RUNTIME_LINK})
  elseif(library STREQUAL stmc_core)
    target_link_libraries(${name} PRIVATE stmc_core)
  else()
    target_link_libraries(${name} PRIVATE m)
  endif()
  separate_arguments(arguments)
  add_test(NAME ${name} COMMAND ${name} ${arguments} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS sanitize)
endfunction()

file(GLOB_RECURSE ALL_STM CONFIGURE_DEPENDS stdlib/*.stm examples/*.stm tests/language/*.stm)

# ---- language
test_program(test_base stmc_core "" language/syntax/test_base.c)
test_program(test_syntax stmc_core "${CMAKE_SOURCE_DIR}" language/syntax/test_syntax.c)
string(REPLACE ";" " " ALL_STM_ARGUMENTS "${ALL_STM}")
test_program(fuzz_syntax stmc_core "40 ${ALL_STM_ARGUMENTS}" fuzz/fuzz_syntax.c fuzz/mutate_spec.c)

test_program(errors_test none "$<TARGET_FILE:stmc> spec/errors.md compiler" language/errors/errors_test.c)
file(GLOB ELABORATE_STM CONFIGURE_DEPENDS tests/language/elaborate/*.stm)
string(REPLACE ";" " " ELABORATE_STM "${ELABORATE_STM}")
test_program(elaborate_test stmc_core "stdlib ${ELABORATE_STM}" language/elaborate/elaborate_test.c)
test_program(fuzz_compile stmc_core "stdlib 25 ${ALL_STM_ARGUMENTS}" fuzz/fuzz_compile.c fuzz/mutate_spec.c)

# ---- passes
test_program(equations_test stmc_core "" passes/equations_test.c)
test_program(equations_golden_test stmc_core "" passes/equations_golden_test.c)
test_program(differentiate_test stmc_core "200" passes/differentiate_test.c)
test_program(simplify_test stmc_core "300" passes/simplify_test.c)
test_program(fuse_test stmc_core "1 15" passes/fuse_test.c passes/kernel_run.c)
file(GLOB SYSTEMS_STM CONFIGURE_DEPENDS tests/language/systems/*.stm)
string(REPLACE ";" " " SYSTEMS_STM "${SYSTEMS_STM}")
test_program(narrow_test stmc_core "stdlib examples/hevisum/hevisum.stm ${SYSTEMS_STM}" passes/narrow_test.c)
test_program(bias_gradient_test stmc_core "1 60" passes/bias_gradient_test.c passes/kernel_run.c)
test_program(plan_test stmc_core "" passes/plan_test.c passes/kernel_run.c)
test_program(contract_test stmc_core "100" passes/contract_test.c)
test_program(cpu_kernels_test stmc_core "" passes/cpu_kernels_test.c passes/kernel_make.c passes/kernel_run.c passes/jit.c)
test_program(cpu_random_test stmc_core "40" passes/cpu_random_test.c passes/kernel_make.c passes/kernel_run.c passes/jit.c)
test_program(math_ulp stmc_core "" passes/math_ulp.c passes/kernel_make.c passes/kernel_run.c passes/jit.c)

# Long under sanitizers, and their code runs there in shorter tests as well.
set_tests_properties(errors_test fuse_test cpu_random_test math_ulp PROPERTIES LABELS plain)

# ---- references
test_program(reference_test none "${T}/parity" parity/reference.c parity/reference_test.c)

# ---- the runtime
set(DATA ${CMAKE_SOURCE_DIR}/../shared/data)
foreach(name core tables image store her2st)
  test_program(data_${name} stmrt "${DATA}" data/${name}_test.c)
endforeach()

include(${T}/data/data.cmake)

foreach(name linear make_store unit)
  add_executable(runtime_${name} ${T}/runtime/${name}.c)
  target_include_directories(runtime_${name} SYSTEM PRIVATE ${HDF5_INCLUDE})
  target_link_libraries(runtime_${name} PRIVATE ${RUNTIME_LINK})
endforeach()
add_test(NAME runtime COMMAND ${T}/runtime/run.sh $<TARGET_FILE:runtime_linear> $<TARGET_FILE:runtime_make_store>
  $<TARGET_FILE:runtime_unit>)
set_tests_properties(runtime PROPERTIES TIMEOUT 600 LABELS "slow;sanitize")

# ---- the runtime on a GPU, which is the host shim (tests/gpu/shim)
set(LINEAR_IMAGE ${GENERATED}/runtime/linear_image.inc)
file(MAKE_DIRECTORY ${GENERATED}/runtime)
add_executable(runtime_make_image ${T}/runtime/make_image.c)
target_link_libraries(runtime_make_image PRIVATE stmc_core)
add_custom_command(OUTPUT ${LINEAR_IMAGE}
  COMMAND runtime_make_image f_init f_loss f_gradient f_update f_mse_columns f_mean3 f_count f_one > ${LINEAR_IMAGE}
  DEPENDS runtime_make_image)
foreach(name linear_cuda linear_alone gpu_unit)
  string(REPLACE linear_alone linear_cuda source ${name})
  add_executable(runtime_${name} ${T}/runtime/${source}.c ${LINEAR_IMAGE})
  target_include_directories(runtime_${name} PRIVATE ${GENERATED}/runtime)
  target_link_libraries(runtime_${name} PRIVATE ${RUNTIME_LINK})
endforeach()
target_compile_definitions(runtime_linear_alone PRIVATE CUDA_ALONE)
add_test(NAME runtime_gpu COMMAND ${T}/runtime/gpu.sh $<TARGET_FILE:runtime_linear_cuda>
  $<TARGET_FILE:runtime_linear_alone> $<TARGET_FILE:runtime_make_store> $<TARGET_FILE:runtime_gpu_unit>)
set_tests_properties(runtime_gpu PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 LABELS slow)

# ---- whole programs
foreach(file ${ALL_STM})
  file(RELATIVE_PATH short ${CMAKE_SOURCE_DIR} ${file})
  if(short MATCHES "language/(syntax/good|errors)/") # texts for the parser alone; wrong programs
    continue()
  endif()
  add_test(NAME check:${short} COMMAND stmc ${file} --check)
  file(STRINGS ${file} HAS_TEST REGEX "^test " LIMIT_COUNT 1)
  if(short MATCHES "tests/language/" AND HAS_TEST)
    add_test(NAME stm:${short} COMMAND stmc test ${file})
    set_tests_properties(stm:${short} PROPERTIES TIMEOUT 300)
  endif()
endforeach()

# ---- against the recorded references: HEVisum step by step, every module
add_test(NAME parity COMMAND ${T}/parity/run.sh ${CMAKE_BINARY_DIR})
set_tests_properties(parity PROPERTIES TIMEOUT 900 LABELS slow)

# ---- the command lines, from a shell
foreach(name commands tissue prepare faults hevisum cuda stmdata weights)
  add_test(NAME cli_${name} COMMAND ${T}/cli/${name}.sh ${CMAKE_BINARY_DIR})
  set_tests_properties(cli_${name} PROPERTIES TIMEOUT 600)
endforeach()
set_tests_properties(cli_hevisum PROPERTIES LABELS slow)

# ---- the CUDA target, without a GPU
test_program(nvrtc_test stmc_core "" gpu/nvrtc_test.c)
test_program(expr_test stmc_core "" gpu/expr_test.c gpu/expr_cases.c gpu/expr_plain.c passes/kernel_make.c passes/kernel_run.c
  passes/jit.c)
set_tests_properties(expr_test PROPERTIES LABELS plain)
include(${T}/gpu/gpu.cmake)
include(${T}/gpu/contract/contract.cmake)
