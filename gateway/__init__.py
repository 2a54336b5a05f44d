"""The process beside the PACS: receives studies, has them segmented, and brings the results back."""
