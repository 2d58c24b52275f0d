# kernels/contract.cuh: its instances on the host shim against naive sums, and through NVRTC. Included behind gpu.cmake,
# which defines SHIM_CXX, SHIM_BUILD and SHIM_LIBRARY; without g++ or NVRTC a test is skipped (exit 77).
add_executable(contract_sources ${T}/gpu/contract/contract_sources.c)
test_program(contract_nvrtc none "${CMAKE_SOURCE_DIR}/kernels ${T}/gpu/contract" gpu/contract/contract_nvrtc_test.c)
target_link_libraries(contract_nvrtc PRIVATE ${CMAKE_DL_LIBS})
set_tests_properties(contract_nvrtc PROPERTIES LABELS slow)

if(SHIM_CXX)
  set(CONTRACT ${CMAKE_BINARY_DIR}/gpu/contract)
  set(CONTRACT_SOURCES)
  foreach(i 0 1 2 3)
    list(APPEND CONTRACT_SOURCES ${CONTRACT}/contract${i}.cu)
  endforeach()
  file(MAKE_DIRECTORY ${CONTRACT})
  add_custom_command(OUTPUT ${CONTRACT_SOURCES}
    COMMAND contract_sources ${CONTRACT} 4
    COMMAND ${CMAKE_COMMAND} -E copy ${T}/gpu/contract/gather.cuh ${CONTRACT}
    DEPENDS contract_sources ${T}/gpu/contract/instances.h ${T}/gpu/contract/gather.cuh)
  add_custom_command(OUTPUT ${CONTRACT}/contract.so
    COMMAND ${SHIM_BUILD} kernels ${CONTRACT}/contract.so ${CMAKE_SOURCE_DIR}/kernels ${SHIM_LIBRARY} checked
      ${CONTRACT_SOURCES}
    DEPENDS ${SHIM_LIBRARY} ${KERNEL_HEADERS} ${CONTRACT_SOURCES})
  add_custom_target(contract_instances ALL DEPENDS ${CONTRACT}/contract.so)
  test_program(contract_host none "${SHIM_LIBRARY} ${CONTRACT}/contract.so" gpu/contract/contract_host_test.c)
  target_link_libraries(contract_host PRIVATE ${CMAKE_DL_LIBS})
  set_tests_properties(contract_host PROPERTIES LABELS slow)
  add_dependencies(contract_host contract_instances)
else()
  add_test(NAME contract_host COMMAND sh -c "echo 'no g++: skipped'; exit 77")
  set_tests_properties(contract_host PROPERTIES SKIP_RETURN_CODE 77)
endif()
